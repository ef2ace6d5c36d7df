//! The folder of leases: files and locks.
//!
//! ```text
//!   leases/.lock                          held while leases are taken or given back, so that no two overlap
//!   leases/<lease>.json                   what the lease says
//!   leases/<lease>.owner                  locked by its owner for as long as it lives
//!   leases/<lease>.<daemon>.ack           that daemon has let go
//!   leases/<lease>.release                a person asks its owner to give it back
//!   leases/present/<daemon>               locked by a daemon for as long as it lives
//! ```
//!
//! A lock ends with its process, however that ends, and is seen from every container that has the folder.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use gpu_health::Moment;
use gpu_model::GpuUuid;
use jiff::{SignedDuration, Timestamp};
use node_host::{BootId, LocalPath};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    Acknowledgement, LEASES_PATH, LONGEST_LEASE, Lease, LeaseOwner, LeaseRequest, LeaseState, SCHEMA_VERSION,
};
use crate::requests::{self, FILE_MODE, InvalidRequest, MAX_WHO, MAX_WHY, Named};
use crate::strict::{self, ReadError, WriteError};

/// Files of the folder that are looked at; somebody else may fill it.
const MAX_FILES: usize = 4096;

/// How often a lock is tried that others may have for the time of a look.
const LOOKS: u32 = 1000;

/// The folder of a node's leases.
#[derive(Clone, Debug)]
pub struct LeaseFolder {
    path: LocalPath,
}

/// A lease as it was found.
#[derive(Debug)]
pub struct FoundLease {
    /// Its name.
    pub id: String,
    /// Whether its owner has its lock.
    pub is_locked: bool,
    /// What it says, and whether it counts. Of one that cannot be read nobody knows which GPUs it means.
    pub read: Result<(Lease, LeaseState), ReadError>,
}

/// What the daemons that are there say of a lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Those that have let go.
    pub acknowledged: Vec<Acknowledgement>,
    /// Those that have not yet.
    pub awaited: BTreeSet<String>,
}

/// A person's request to the owner of a lease to give it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseRequest {
    schema_version: u32,
    /// Who asks.
    pub who: String,
    /// Why.
    pub why: String,
    /// When.
    pub asked_at: Timestamp,
}

/// A lease that was not ended.
#[derive(Debug, Error)]
pub enum EndError {
    /// There is none of this name.
    #[error("there is no lease {id}")]
    Unknown {
        /// The name.
        id: String,
    },
    /// It cannot be asked for like this.
    #[error(transparent)]
    Request(#[from] InvalidRequest),
    /// The folder could not be used.
    #[error(transparent)]
    Folder(#[from] LeaseError),
}

/// A lease that this process holds. It is given back when this is dropped.
#[derive(Debug)]
pub struct LeaseHold {
    lease: Lease,
    folder: LeaseFolder,
    _owner: File,
}

/// A daemon's sign that it is there and has to be waited for. It ends when this is dropped.
#[derive(Debug)]
pub struct Presence {
    name: String,
    path: LocalPath,
    _lock: File,
}

/// The folder could not be used.
#[derive(Debug, Error)]
pub enum LeaseError {
    /// The operating system refuses.
    #[error("cannot use {path}")]
    Io {
        /// The file or folder.
        path: LocalPath,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A daemon's name that is none.
    #[error(
        "{name:?} is no name of a daemon: expected small letters, digits, hyphens and dots, and 64 of them at most"
    )]
    Name {
        /// The name.
        name: String,
    },
}

/// No lease.
#[derive(Debug, Error)]
pub enum AcquireError {
    /// It cannot be asked for like this.
    #[error(transparent)]
    Request(#[from] InvalidRequest),
    /// Somebody has one of the GPUs.
    #[error("{gpu} is leased already: {} (by {}, process {}, lease {}) until {:.0}", lease.purpose, lease.who, lease.owner.pid, lease.id, lease.expires_at)]
    Taken {
        /// Which.
        gpu: GpuUuid,
        /// By which lease.
        lease: Box<Lease>,
    },
    /// A lease that cannot be read may be of the same GPUs, and its owner is there.
    #[error("there is a lease that cannot be read, and its owner lives")]
    Unreadable(#[source] ReadError),
    /// The folder could not be used.
    #[error(transparent)]
    Folder(#[from] LeaseError),
}

impl LeaseFolder {
    /// That of this run folder. It is made when it is needed.
    pub fn new(run_dir: &LocalPath) -> LeaseFolder {
        LeaseFolder { path: run_dir.join(LEASES_PATH) }
    }

    /// Where it is.
    pub fn path(&self) -> &LocalPath {
        &self.path
    }

    /// Takes a lease. What is left of leases that count no more is removed first.
    ///
    /// # Errors
    /// When one of the GPUs is leased, or the folder cannot be used.
    pub fn acquire(&self, request: LeaseRequest, now: Moment) -> Result<LeaseHold, AcquireError> {
        let LeaseRequest { gpus, purpose, who, duration, boot } = request;
        let taken_at = Timestamp::now();
        let lease = Lease {
            schema_version: SCHEMA_VERSION,
            id: requests::new_id(taken_at),
            gpus,
            purpose: purpose.trim().to_owned(),
            who: who.trim().to_owned(),
            owner: this_process(),
            boot_id: boot,
            taken_at,
            expires_at: taken_at
                .checked_add(SignedDuration::try_from(duration).unwrap_or_default())
                .unwrap_or(taken_at),
            expires_up_ms: u64::try_from(now.up.saturating_add(duration).as_millis()).unwrap_or(u64::MAX),
        };
        check(&lease, duration)?;
        let _turn = self.turn()?;
        for FoundLease { id, is_locked, read } in self.leases(&lease.boot_id, now)? {
            match read {
                Ok((theirs, LeaseState::Live)) => {
                    if let Some(gpu) = theirs.gpus.intersection(&lease.gpus).next() {
                        return Err(AcquireError::Taken { gpu: gpu.clone(), lease: Box::new(theirs) });
                    }
                }
                Err(error) if is_locked => return Err(AcquireError::Unreadable(error)),
                Ok(_) | Err(_) => self.remove(&id)?,
            }
        }
        // The lock before the file: whoever sees the lease finds it locked.
        let owner = self.locked(&self.owner_of(&lease.id))?;
        strict::write(&requests::path_of(&self.path, &lease.id), &lease, FILE_MODE)
            .map_err(LeaseError::from)?;
        Ok(LeaseHold { lease, folder: self.clone(), _owner: owner })
    }

    /// The leases that there are, oldest first.
    ///
    /// # Errors
    /// When the folder cannot be read, apart from there being none.
    pub fn leases(&self, boot: &BootId, now: Moment) -> Result<Vec<FoundLease>, LeaseError> {
        let names = self.names(&self.path)?;
        let ids = names.iter().filter_map(|name| requests::id_in(name)).map(str::to_owned);
        let found = ids.map(|id| {
            let read = requests::read::<Lease>(&requests::path_of(&self.path, &id), SCHEMA_VERSION);
            let is_locked = is_locked(self.owner_of(&id).as_path());
            let read = read.map(|lease| {
                let state = lease.state(boot, now, is_locked);
                (lease, state)
            });
            FoundLease { id, is_locked, read }
        });
        // One that was given back while the folder was read is none.
        Ok(found.filter(|found| !found.read.as_ref().is_err_and(ReadError::is_missing)).collect())
    }

    /// What the daemons that are there say of a lease. Those that come later have to let go, too.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn answers(&self, lease: &str) -> Result<Answers, LeaseError> {
        let mut answers = Answers::default();
        for daemon in self.daemons()? {
            match strict::read::<Acknowledgement>(&self.acknowledgement_of(lease, &daemon), SCHEMA_VERSION) {
                Ok(acknowledgement) => answers.acknowledged.push(acknowledgement),
                // It writes it again as soon as it finds it changed.
                Err(_) => drop(answers.awaited.insert(daemon)),
            }
        }
        Ok(answers)
    }

    /// Asks the owner of a lease to give it back. Nobody can take it: the lock is its owner's.
    ///
    /// # Errors
    /// When there is no such lease, or the request is none.
    pub fn ask_to_release(&self, lease: &str, who: &str, why: &str) -> Result<(), EndError> {
        let (who, why) = (who.trim().to_owned(), why.trim().to_owned());
        requests::check_line("who", &who, MAX_WHO)?;
        requests::check_line("why", &why, MAX_WHY)?;
        let _turn = self.turn()?;
        if !self.has(lease)? {
            return Err(EndError::Unknown { id: lease.to_owned() });
        }
        let request = ReleaseRequest { schema_version: SCHEMA_VERSION, who, why, asked_at: Timestamp::now() };
        Ok(strict::write(&self.request_of(lease), &request, FILE_MODE).map_err(LeaseError::from)?)
    }

    /// Removes what is left of a lease that counts no more, one that cannot be read included. Gives whether it is gone:
    /// not while its owner lives and its time is not over.
    ///
    /// # Errors
    /// When there is no such lease, or it cannot be removed.
    pub fn clear(&self, lease: &str, boot: &BootId, now: Moment) -> Result<bool, EndError> {
        let _turn = self.turn()?;
        let mut all = self.leases(boot, now)?.into_iter();
        let found = all.find(|found| found.id == lease);
        let FoundLease { id, is_locked, read } =
            found.ok_or_else(|| EndError::Unknown { id: lease.to_owned() })?;
        let counts = match read {
            Ok((_, state)) => state == LeaseState::Live,
            Err(_) => is_locked,
        };
        if !counts {
            self.remove(&id)?;
        }
        Ok(!counts)
    }

    /// Says that a daemon is there: before it opens a GPU, so that no lease overlooks it. `name` is the daemon's, with
    /// what tells its instances apart.
    ///
    /// # Errors
    /// When the name is none, another process has it, or the folder cannot be used.
    pub fn present(&self, name: &str) -> Result<Presence, LeaseError> {
        let is_name = (1..=64).contains(&name.len())
            && !name.starts_with('.')
            && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'));
        if !is_name {
            return Err(LeaseError::Name { name: name.chars().take(64).collect() });
        }
        let _turn = self.turn()?;
        let folder = self.presences();
        for other in self.names(&folder)? {
            // Of one that was killed. Who comes now waits for its turn.
            if !is_locked(folder.join(&other).as_path()) {
                remove(&folder.join(&other))?;
            }
        }
        let path = folder.join(name);
        let lock = self.locked(&path)?;
        Ok(Presence { name: name.to_owned(), path, _lock: lock })
    }

    /// Says that the daemon has let go of the GPUs of a lease. One that was given back meanwhile needs no answer.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn acknowledge(&self, acknowledgement: &Acknowledgement) -> Result<(), LeaseError> {
        let _turn = self.turn()?;
        let Acknowledgement { lease, daemon, .. } = acknowledgement;
        if !self.has(lease)? {
            return Ok(());
        }
        Ok(strict::write(&self.acknowledgement_of(lease, daemon), acknowledgement, FILE_MODE)?)
    }

    /// Names of the daemons that are there.
    ///
    /// # Errors
    /// When the folder cannot be read, apart from there being none.
    pub fn daemons(&self) -> Result<BTreeSet<String>, LeaseError> {
        let folder = self.presences();
        let names = self.names(&folder)?;
        Ok(names.into_iter().filter(|name| is_locked(folder.join(name).as_path())).collect())
    }

    /// The lease's lock file.
    fn owner_of(&self, lease: &str) -> LocalPath {
        self.path.join(format!("{lease}.owner"))
    }

    fn presences(&self) -> LocalPath {
        self.path.join("present")
    }

    fn acknowledgement_of(&self, lease: &str, daemon: &str) -> LocalPath {
        self.path.join(format!("{lease}.{daemon}.ack"))
    }

    fn request_of(&self, lease: &str) -> LocalPath {
        self.path.join(format!("{lease}.release"))
    }

    fn has(&self, lease: &str) -> Result<bool, LeaseError> {
        Ok(self.names(&self.path)?.iter().any(|name| requests::id_in(name) == Some(lease)))
    }

    /// The right to change what the folder has, until it is dropped.
    fn turn(&self) -> Result<File, LeaseError> {
        let presences = self.presences();
        requests::make_folder(&presences)
            .map_err(|source| LeaseError::Io { path: presences.clone(), source })?;
        let path = self.path.join(".lock");
        let wrong = |source| LeaseError::Io { path: path.clone(), source };
        let file = open(path.as_path()).map_err(wrong)?;
        file.lock().map_err(wrong)?;
        Ok(file)
    }

    /// The file at `path`, made and locked.
    fn locked(&self, path: &LocalPath) -> Result<File, LeaseError> {
        let wrong = |source| LeaseError::Io { path: path.clone(), source };
        let file = open(path.as_path()).map_err(wrong)?;
        let mut tries = 0;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                // Somebody may just look whether it is locked.
                Err(TryLockError::WouldBlock) if tries < LOOKS => tries += 1,
                Err(error) => return Err(wrong(error.into())),
            }
            std::thread::yield_now();
        }
    }

    /// Removes a lease and what was said about it. What says that it counts goes first.
    fn remove(&self, lease: &str) -> Result<(), LeaseError> {
        remove(&requests::path_of(&self.path, lease))?;
        remove(&self.owner_of(lease))?;
        let acknowledged = format!("{lease}.");
        for name in self.names(&self.path)? {
            if name.starts_with(&acknowledged) {
                remove(&self.path.join(name))?;
            }
        }
        Ok(())
    }

    fn names(&self, folder: &LocalPath) -> Result<Vec<String>, LeaseError> {
        requests::names(folder, MAX_FILES).map_err(|source| LeaseError::Io { path: folder.clone(), source })
    }
}

impl LeaseHold {
    /// What it says.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// What the daemons that are there say of it.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn answers(&self) -> Result<Answers, LeaseError> {
        self.folder.answers(&self.lease.id)
    }

    /// The request of a person to give it back, if there is one.
    pub fn release_asked(&self) -> Option<ReleaseRequest> {
        // One that cannot be read was not made by our command.
        strict::read(&self.folder.request_of(&self.lease.id), SCHEMA_VERSION).ok()
    }
}

impl Drop for LeaseHold {
    fn drop(&mut self) {
        // What cannot be removed counts no more either: its lock ends here.
        let _ = self.folder.turn().and_then(|_turn| self.folder.remove(&self.lease.id));
    }
}

impl Presence {
    /// The daemon's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        // A file without a lock says nothing.
        let _ = fs::remove_file(&self.path);
    }
}

fn check(lease: &Lease, duration: Duration) -> Result<(), InvalidRequest> {
    lease.check()?;
    if duration.is_zero() || duration > LONGEST_LEASE {
        let hint = format!("expected more than nothing and {LONGEST_LEASE:?} at most");
        return Err(InvalidRequest { field: "duration", given: format!("{duration:?}"), hint });
    }
    Ok(())
}

fn this_process() -> LeaseOwner {
    // What follows the name, which may have any character in it, begins with field 3.
    let start_ticks = fs::read_to_string("/proc/self/stat").ok().and_then(|stat| {
        let (_, rest) = stat.rsplit_once(") ")?;
        rest.split(' ').nth(22 - 3)?.parse().ok()
    });
    LeaseOwner { pid: std::process::id(), start_ticks: start_ticks.unwrap_or(0) }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path)
}

/// Whether a process has the lock of this file. What cannot be told counts as locked: of a lease that is the safe side.
fn is_locked(path: &Path) -> bool {
    match File::open(path).map(|file| file.try_lock_shared()) {
        Ok(Ok(())) => false,
        Ok(Err(TryLockError::WouldBlock | TryLockError::Error(_))) => true,
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

fn remove(path: &LocalPath) -> Result<(), LeaseError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(LeaseError::Io { path: path.clone(), source })
        }
        _ => Ok(()),
    }
}
