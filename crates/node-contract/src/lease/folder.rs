//! The folder of leases: files and locks.
//!
//! ```text
//!   leases/.lock                          held while leases are taken or given back, so that no two overlap
//!   leases/<lease>.json                   what the lease says
//!   leases/<lease>.owner                  locked by its owner for as long as it lives
//!   leases/<lease>.<daemon>.ack           that daemon has let go
//!   leases/present/<daemon>               locked by a daemon for as long as it lives
//! ```
//!
//! A lock ends with its process, however that ends, and is seen from every container that has the folder.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use gpu_health::Moment;
use gpu_model::GpuUuid;
use jiff::{SignedDuration, Timestamp};
use node_host::{BootId, LocalPath};
use thiserror::Error;

use super::{
    Acknowledgement, LEASES_PATH, LONGEST_LEASE, Lease, LeaseOwner, LeaseRequest, LeaseState, MAX_PURPOSE,
    SCHEMA_VERSION,
};
use crate::strict::{self, ReadError, WriteError};

/// Readable by root alone.
const FILE_MODE: u32 = 0o600;

/// Files of the folder that are looked at; somebody else may fill it.
const MAX_FILES: usize = 4096;

/// How often a lock is tried that others may have for the time of a look.
const LOOKS: u32 = 1000;

/// The folder of a node's leases.
#[derive(Clone, Debug)]
pub struct LeaseFolder {
    path: LocalPath,
}

/// A lease as it was found, and whether it counts.
pub type FoundLease = Result<(Lease, LeaseState), ReadError>;

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
    #[error("{field} is {given:?}: {hint}")]
    Request {
        /// What.
        field: &'static str,
        /// As it was given.
        given: String,
        /// What would be right.
        hint: String,
    },
    /// Somebody has one of the GPUs.
    #[error("{gpu} is leased already: {} ({}, process {}) until {}", lease.purpose, lease.id, lease.owner.pid, lease.expires_at)]
    Taken {
        /// Which.
        gpu: GpuUuid,
        /// By which lease.
        lease: Box<Lease>,
    },
    /// A lease that cannot be read may be of the same GPUs.
    #[error("there is a lease that cannot be read")]
    Unreadable(#[from] ReadError),
    /// The folder could not be used.
    #[error(transparent)]
    Folder(#[from] LeaseError),
}

impl LeaseFolder {
    /// That of this run folder. It is made when it is needed.
    pub fn new(run_dir: &LocalPath) -> LeaseFolder {
        LeaseFolder { path: run_dir.join(LEASES_PATH) }
    }

    /// Takes a lease. What is left of leases that count no more is removed first.
    ///
    /// # Errors
    /// When one of the GPUs is leased, or the folder cannot be used.
    pub fn acquire(&self, request: LeaseRequest, now: Moment) -> Result<LeaseHold, AcquireError> {
        let LeaseRequest { gpus, purpose, duration, boot } = request;
        check(&gpus, &purpose, duration)?;
        let _turn = self.turn()?;
        for (lease, state) in self.read_all(&boot, now)? {
            if state != LeaseState::Live {
                self.remove(&lease.id)?;
            } else if let Some(gpu) = lease.gpus.intersection(&gpus).next() {
                return Err(AcquireError::Taken { gpu: gpu.clone(), lease: Box::new(lease) });
            }
        }
        let taken_at = Timestamp::now();
        let id = format!("{:020}-{}", taken_at.as_nanosecond(), std::process::id());
        let lease = Lease {
            schema_version: SCHEMA_VERSION,
            gpus,
            purpose: purpose.trim().to_owned(),
            owner: this_process(),
            boot_id: boot,
            taken_at,
            expires_at: taken_at
                .checked_add(SignedDuration::try_from(duration).unwrap_or_default())
                .unwrap_or(taken_at),
            expires_up_ms: u64::try_from((now.up + duration).as_millis()).unwrap_or(u64::MAX),
            id,
        };
        // The lock before the file: whoever sees the lease finds it locked.
        let owner = self.locked(&self.owner_of(&lease.id))?;
        strict::write(&self.path.join(format!("{}.json", lease.id)), &lease, FILE_MODE)
            .map_err(LeaseError::from)?;
        Ok(LeaseHold { lease, folder: self.clone(), _owner: owner })
    }

    /// The leases that there are, and whether they count. A file that cannot be read stands with its error: nobody knows
    /// which GPUs it means.
    ///
    /// # Errors
    /// When the folder cannot be read, apart from there being none.
    pub fn leases(&self, boot: &BootId, now: Moment) -> Result<Vec<FoundLease>, LeaseError> {
        let mut names = self.names(&self.path)?;
        names.retain(|name| name.ends_with(".json"));
        let lease = |name: String| -> FoundLease {
            let path = self.path.join(&name);
            let lease: Lease = strict::read(&path, SCHEMA_VERSION)?;
            if name.strip_suffix(".json") != Some(&lease.id) {
                let hint = "expected the name of the file".to_owned();
                return Err(ReadError::Value {
                    path,
                    at: "id".to_owned(),
                    value: format!("{:?}", lease.id),
                    hint,
                });
            }
            let is_locked = is_locked(self.owner_of(&lease.id).as_path());
            let state = lease.state(boot, now, is_locked);
            Ok((lease, state))
        };
        // One that was given back while the folder was read is none.
        let found =
            names.into_iter().map(lease).filter(|found| !found.as_ref().is_err_and(ReadError::is_missing));
        Ok(found.collect())
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
        let path = self.presences().join(name);
        let lock = self.locked(&path)?;
        Ok(Presence { name: name.to_owned(), path, _lock: lock })
    }

    /// Says that the daemon has let go of the GPUs of a lease.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn acknowledge(&self, acknowledgement: &Acknowledgement) -> Result<(), LeaseError> {
        let name = format!("{}.{}.ack", acknowledgement.lease, acknowledgement.daemon);
        Ok(strict::write(&self.path.join(name), acknowledgement, FILE_MODE)?)
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

    /// All leases, or the first error.
    fn read_all(&self, boot: &BootId, now: Moment) -> Result<Vec<(Lease, LeaseState)>, AcquireError> {
        let leases: Result<Vec<_>, ReadError> = self.leases(boot, now)?.into_iter().collect();
        Ok(leases?)
    }

    /// The right to change what the folder has, until it is dropped.
    fn turn(&self) -> Result<File, LeaseError> {
        let presences = self.presences();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&presences);
        made.map_err(|source| LeaseError::Io { path: presences, source })?;
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
        remove(&self.path.join(format!("{lease}.json")))?;
        remove(&self.owner_of(lease))?;
        let acknowledged = format!("{lease}.");
        for name in self.names(&self.path)? {
            if name.starts_with(&acknowledged) {
                remove(&self.path.join(name))?;
            }
        }
        Ok(())
    }

    /// Names of a folder's files, in order; none if there is no folder. What begins with a dot is being written.
    fn names(&self, folder: &LocalPath) -> Result<Vec<String>, LeaseError> {
        let wrong = |source| LeaseError::Io { path: folder.clone(), source };
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(wrong)?,
        };
        let mut names = Vec::new();
        for entry in entries.take(MAX_FILES) {
            let name = entry.map_err(wrong)?.file_name();
            names.extend(name.to_str().filter(|name| !name.starts_with('.')).map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }
}

impl LeaseHold {
    /// What it says.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// The daemons that are there and have not let go yet. Those that come later have to let go, too.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn awaited(&self) -> Result<BTreeSet<String>, LeaseError> {
        let name = |daemon: &String| self.folder.path.join(format!("{}.{daemon}.ack", self.lease.id));
        let mut daemons = self.folder.daemons()?;
        daemons.retain(|daemon| !name(daemon).as_path().exists());
        Ok(daemons)
    }

    /// What the daemons said that have let go.
    ///
    /// # Errors
    /// When one of the files cannot be read.
    pub fn acknowledgements(&self) -> Result<Vec<Acknowledgement>, AcquireError> {
        let prefix = format!("{}.", self.lease.id);
        let mut names = self.folder.names(&self.folder.path)?;
        names.retain(|name| name.starts_with(&prefix) && name.ends_with(".ack"));
        let read = |name: String| Ok(strict::read(&self.folder.path.join(name), SCHEMA_VERSION)?);
        names.into_iter().map(read).collect()
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

fn check(gpus: &BTreeSet<GpuUuid>, purpose: &str, duration: Duration) -> Result<(), AcquireError> {
    let wrong = |field, given: String, hint: String| Err(AcquireError::Request { field, given, hint });
    let is_text = !purpose.trim().is_empty() && !purpose.chars().any(char::is_control);
    if gpus.is_empty() {
        return wrong("gpus", String::new(), "expected at least one GPU".to_owned());
    }
    if !is_text || purpose.chars().count() > MAX_PURPOSE {
        let given = purpose.chars().take(MAX_PURPOSE).collect();
        return wrong(
            "purpose",
            given,
            format!("expected 1 to {MAX_PURPOSE} printable characters on one line"),
        );
    }
    if duration.is_zero() || duration > LONGEST_LEASE {
        return wrong(
            "duration",
            format!("{duration:?}"),
            format!("expected more than nothing and {LONGEST_LEASE:?} at most"),
        );
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
