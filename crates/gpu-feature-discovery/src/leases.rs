//! Leases on GPUs: while there is one, no handle on the driver is open here, and its owner knows that.
//!
//! Labels are not worth a change of what is leased: the driver is left alone as a whole, and asked again when the last lease
//! is over.

use std::collections::BTreeMap;

use daemon::error_chain;
use daemon::files::{Files, FilesGone};
use node_contract::{Acknowledgement, FoundLease, Lease, LeaseFolder, LeaseState, Observed, Presence, now};
use node_host::BootId;

/// Heeds leases.
pub struct Leases {
    folder: LeaseFolder,
    boot: Option<BootId>,
    name: String,
    presence: Option<Presence>,
    /// Those that count, and whether their owners know that the driver is left alone.
    live: BTreeMap<String, (Lease, bool)>,
    troubles: Vec<String>,
}

impl Leases {
    /// Heeds those of this folder, under this name.
    pub fn new(folder: LeaseFolder, boot: Option<BootId>, name: String) -> Leases {
        Leases { folder, boot, name, presence: None, live: BTreeMap::new(), troubles: Vec::new() }
    }

    /// Looks which leases count now. The sign that this daemon is there comes before the first look.
    ///
    /// # Errors
    /// When the thread for file work has died.
    pub async fn read(&mut self, files: &Files) -> Result<(), FilesGone> {
        self.troubles.clear();
        if self.presence.is_none() {
            let (folder, name) = (self.folder.clone(), self.name.clone());
            match files.run(move || folder.present(&name)).await? {
                Ok(presence) => self.presence = Some(presence),
                Err(error) => self.troubles.push(format!(
                    "nobody who leases GPUs can know that feature discovery is there: {}",
                    error_chain(&error)
                )),
            }
        }
        let Some(boot) = self.boot.clone() else {
            self.troubles.push("leases are not heeded: no boot id".to_owned());
            return Ok(());
        };
        let folder = self.folder.clone();
        match files.run(move || folder.leases(&boot, now())).await? {
            Ok(found) => self.take(found),
            Err(error) => self.troubles.push(format!("leases cannot be looked for: {}", error_chain(&error))),
        }
        Ok(())
    }

    /// A lease that was read once and cannot be read any more counts as long as its owner lives.
    fn take(&mut self, found: Vec<FoundLease>) {
        let mut last = std::mem::take(&mut self.live);
        for FoundLease { id, is_locked, read } in found {
            match read {
                Ok((lease, LeaseState::Live)) => {
                    let live = last.remove(&id).unwrap_or((lease, false));
                    self.live.insert(id, live);
                }
                Ok(_) => {}
                Err(error) => {
                    self.troubles.push(format!("lease {id}: {}", error_chain(&error)));
                    if let Some(live) = last.remove(&id).filter(|_| is_locked) {
                        self.live.insert(id, live);
                    }
                }
            }
        }
    }

    /// Why the driver is to be left alone, in words; nothing while no GPU is leased.
    pub fn in_the_way(&self) -> Option<String> {
        let said = self.live.values().map(|(lease, _)| {
            let Lease { id, purpose, who, expires_at, .. } = lease;
            format!("GPUs are leased by {who} until {expires_at:.0}: {purpose} (lease {id})")
        });
        let said: Vec<String> = said.collect();
        (!said.is_empty()).then(|| said.join("; "))
    }

    /// Whether some owner waits for this daemon to let go.
    pub fn is_awaited(&self) -> bool {
        self.live.values().any(|(_, is_acknowledged)| !is_acknowledged)
    }

    /// Tells the owners that the driver is left alone.
    ///
    /// # Errors
    /// When the thread for file work has died.
    pub async fn acknowledge(&mut self, files: &Files) -> Result<(), FilesGone> {
        let Some(presence) = &self.presence else { return Ok(()) };
        for (id, (_, is_acknowledged)) in self.live.iter_mut().filter(|(_, (_, is_done))| !is_done) {
            let acknowledgement = Acknowledgement::new(id, presence, Observed::default());
            let folder = self.folder.clone();
            match files.run(move || folder.acknowledge(&acknowledgement)).await? {
                Ok(()) => {
                    tracing::info!(lease = id, "lease acknowledged: the driver is left alone");
                    *is_acknowledged = true;
                }
                Err(error) => {
                    self.troubles.push(format!("lease {id} cannot be acknowledged: {}", error_chain(&error)));
                }
            }
        }
        Ok(())
    }

    /// What cannot be done, in words.
    pub fn troubles(&self) -> &[String] {
        &self.troubles
    }
}
