//! Leases on GPUs: while there is one, no handle on its GPUs is open here, and its owner knows that. And whether the device
//! plugin is there, which its sign in the same folder says.

use std::collections::BTreeSet;
use std::time::Instant;

use daemon::error_chain;
use daemon::files::{Files, FilesGone};
use gpu_model::GpuUuid;
use node_contract::{
    Acknowledgement, HeededLeases, Lease, LeaseFolder, Observed, PLUGIN_PRESENCE, is_daemon, now,
};
use node_host::BootId;

use crate::plugin::Plugin;

/// Heeds leases.
pub struct Leases {
    folder: LeaseFolder,
    boot: Option<BootId>,
    name: String,
    heeded: HeededLeases<Live>,
    troubles: Vec<String>,
}

/// One that counts.
struct Live {
    lease: Lease,
    /// Whether its owner knows that its GPUs are left alone.
    is_acknowledged: bool,
}

impl Leases {
    /// Heeds those of this folder, under this name.
    pub fn new(folder: LeaseFolder, boot: Option<BootId>, name: String) -> Leases {
        Leases { folder, boot, name, heeded: HeededLeases::default(), troubles: Vec::new() }
    }

    /// Looks which leases count now, and whether the plugin is there. The sign that this daemon is there comes before the
    /// first look.
    ///
    /// # Errors
    /// When the thread for file work has died.
    pub async fn read(&mut self, files: &Files, plugin: &mut Plugin) -> Result<(), FilesGone> {
        let is_present = self.heeded.presence().is_some();
        let (folder, name, boot) = (self.folder.clone(), self.name.clone(), self.boot.clone());
        let work = files.run(move || {
            let look = folder.look(&name, is_present, boot.as_ref(), now());
            (look, folder.daemons())
        });
        let (look, daemons) = work.await?;
        let heeded = self.heeded.take(look, |lease| Live { lease, is_acknowledged: false });
        self.troubles = heeded.troubles.iter().map(|trouble| error_chain(trouble).to_string()).collect();
        // Where that cannot be told it is as it was; the leases' trouble is the same.
        if let Ok(daemons) = daemons {
            plugin.seen(daemons.iter().any(|daemon| is_daemon(daemon, PLUGIN_PRESENCE)), Instant::now());
        }
        Ok(())
    }

    /// The GPUs that are leased.
    pub fn gpus(&self) -> BTreeSet<GpuUuid> {
        self.heeded.values().flat_map(|live| live.lease.gpus.iter().cloned()).collect()
    }

    /// Who has leased GPUs, in words; nothing while none is.
    pub fn in_words(&self) -> Option<String> {
        let said = self.heeded.values().map(|live| {
            let Lease { id, purpose, who, expires_at, .. } = &live.lease;
            format!("GPUs are leased by {who} until {expires_at:.0}: {purpose} (lease {id})")
        });
        let said: Vec<String> = said.collect();
        (!said.is_empty()).then(|| said.join("; "))
    }

    /// Whether some owner waits for this daemon to let go.
    pub fn is_awaited(&self) -> bool {
        self.heeded.values().any(|live| !live.is_acknowledged)
    }

    /// Whether something has to be tried again: the sign that this daemon is there, or to let go and say so.
    pub fn has_failed(&self) -> bool {
        self.heeded.presence().is_none() || self.is_awaited()
    }

    /// Tells the owners that their GPUs are left alone.
    ///
    /// # Errors
    /// When the thread for file work has died.
    pub async fn acknowledge(&mut self, files: &Files) -> Result<(), FilesGone> {
        let (live, presence) = self.heeded.parts_mut();
        let Some(presence) = presence else { return Ok(()) };
        for (id, live) in live.filter(|(_, live)| !live.is_acknowledged) {
            let acknowledgement = Acknowledgement::new(id, presence, Observed::default());
            let folder = self.folder.clone();
            match files.run(move || folder.acknowledge(&acknowledgement)).await? {
                Ok(()) => {
                    tracing::info!(lease = id, "lease acknowledged: its GPUs are left alone");
                    live.is_acknowledged = true;
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
