//! The leases that a daemon heeds, from one look at their folder to the next. What it does for them, it decides itself.

use std::collections::BTreeMap;

use gpu_health::Moment;
use node_host::BootId;
use thiserror::Error;

use super::{FoundLease, Lease, LeaseError, LeaseFolder, LeaseState, Presence};
use crate::strict::ReadError;

/// Leases that count, by id, each with what a daemon keeps of it; and the sign that the daemon is there.
#[derive(Debug)]
pub struct HeededLeases<T> {
    live: BTreeMap<String, T>,
    presence: Option<Presence>,
}

/// A look at the folder: file work, of which nothing is decided yet.
#[derive(Debug)]
pub struct LeaseLook {
    presence: Option<Result<Presence, LeaseError>>,
    found: Result<Vec<FoundLease>, HeedTrouble>,
}

/// What a look changed.
#[derive(Debug)]
pub struct Heeded<T> {
    /// What was kept of leases that are over.
    pub over: Vec<T>,
    /// What cannot be done.
    pub troubles: Vec<HeedTrouble>,
}

/// Leases may not be heeded as they should be.
#[derive(Debug, Error)]
pub enum HeedTrouble {
    /// The daemon is not waited for.
    #[error("nobody who leases GPUs can know that this daemon is there")]
    Presence(#[source] LeaseError),
    /// No lease counts, since each is of a boot.
    #[error("leases are not heeded: no boot id")]
    NoBoot,
    /// Those that are known go on.
    #[error("leases cannot be looked for")]
    Folder(#[source] LeaseError),
    /// It counts as long as its owner lives.
    #[error("lease {id} goes on as it was read before")]
    Unreadable {
        /// Its name.
        id: String,
        /// Why it cannot be read now.
        #[source]
        source: ReadError,
    },
    /// Nobody knows which GPUs it means.
    #[error("a lease is not heeded")]
    NeverRead(#[source] ReadError),
}

impl LeaseFolder {
    /// Looks which leases there are, for the daemon of that name. Unless it is known to be there, the sign of that comes
    /// first, so that no lease overlooks it.
    pub fn look(&self, name: &str, is_present: bool, boot: Option<&BootId>, now: Moment) -> LeaseLook {
        let presence = (!is_present).then(|| self.present(name));
        let found = match boot {
            Some(boot) => self.leases(boot, now).map_err(HeedTrouble::Folder),
            None => Err(HeedTrouble::NoBoot),
        };
        LeaseLook { presence, found }
    }
}

impl<T> HeededLeases<T> {
    /// Takes a look over. A lease that was read once and cannot be read any more counts as long as its owner lives.
    pub fn take(&mut self, look: LeaseLook, begin: impl Fn(Lease) -> T) -> Heeded<T> {
        let mut troubles = Vec::new();
        match look.presence {
            Some(Ok(presence)) => self.presence = Some(presence),
            Some(Err(error)) => troubles.push(HeedTrouble::Presence(error)),
            None => {}
        }
        let found = match look.found {
            Ok(found) => found,
            Err(trouble) => {
                troubles.push(trouble);
                return Heeded { over: Vec::new(), troubles };
            }
        };
        let mut last = std::mem::take(&mut self.live);
        for FoundLease { id, is_locked, read } in found {
            match read {
                Ok((lease, LeaseState::Live)) => {
                    let live = last.remove(&id).unwrap_or_else(|| begin(lease));
                    self.live.insert(id, live);
                }
                Ok(_) => {}
                Err(source) if is_locked && last.contains_key(&id) => {
                    self.live.extend(last.remove(&id).map(|live| (id.clone(), live)));
                    troubles.push(HeedTrouble::Unreadable { id, source });
                }
                Err(source) => troubles.push(HeedTrouble::NeverRead(source)),
            }
        }
        Heeded { over: last.into_values().collect(), troubles }
    }

    /// The daemon's sign that it is there.
    pub fn presence(&self) -> Option<&Presence> {
        self.presence.as_ref()
    }

    /// Whether no lease counts.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// What is kept of each lease that counts.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.live.values()
    }

    /// The same with the leases' ids, to be changed; and the sign of the daemon.
    pub fn parts_mut(&mut self) -> (impl Iterator<Item = (&String, &mut T)>, Option<&Presence>) {
        (self.live.iter_mut(), self.presence.as_ref())
    }
}

impl<T> Default for HeededLeases<T> {
    fn default() -> Self {
        HeededLeases { live: BTreeMap::new(), presence: None }
    }
}
