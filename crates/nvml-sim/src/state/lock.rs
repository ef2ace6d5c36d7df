//! The right to change a state folder: one holder over all processes and threads, and never one that is gone. It knows
//! no state.
//!
//! A record lock of fcntl belongs to a process and ends with it, however it ends: flock's would live on in a child that
//! was forked meanwhile and has the same open file. But a record lock does not keep threads of its own process out, nor a
//! second copy of this code in it, and it is lost when any of them closes the file. So those take turns first, by
//! flock on their process's own folder in /proc: whoever outlives the process never asks for that one.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, fcntl_lock, flock};
use rustix::io::Errno;

use super::watch::pause;

/// In the state folder.
const FILE: &str = "lock";
/// This process, whichever it is.
const OWN_PROCESS: &str = "/proc/self";
/// Between two tries of a lock that the kernel refuses for a deadlock that is none: it counts all threads of a process, and all
/// locks that a client has of its own, as one.
const RETRY: Duration = Duration::from_millis(1);

/// The right, given back when dropped: the file first, since to close it gives up the lock of the next in turn.
#[derive(Debug)]
pub struct Lock {
    _file: File,
    _turn: Option<Turn>,
}

/// This process's turn. It is given back explicitly: a forked child holds the same open folder.
#[derive(Debug)]
struct Turn(File);

impl Lock {
    /// Waits for the right to change a folder. An error comes with the path that it is about.
    pub fn take(dir: &Path) -> Result<Lock, (PathBuf, io::Error)> {
        let turn = Turn::take()?;
        let path = dir.join(FILE);
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|error| (path.clone(), error))?;
        loop {
            match fcntl_lock(&file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Lock { _file: file, _turn: turn }),
                Err(Errno::INTR) => {}
                Err(Errno::DEADLK) => pause(RETRY),
                Err(error) => return Err((path, error.into())),
            }
        }
    }
}

impl Lock {
    /// The right to change a folder, if nobody has it at this moment; an error where the folder cannot be written. The turn
    /// comes first: to open and close the file would take the lock from another thread.
    pub fn try_take(dir: &Path) -> io::Result<Option<Lock>> {
        let own = File::open(OWN_PROCESS)?;
        match flock(&own, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK | Errno::INTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let turn = Turn(own);
        let file = File::options().write(true).open(dir.join(FILE))?;
        match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock { _file: file, _turn: Some(turn) })),
            // POSIX lets a system answer with either of the first two.
            Err(Errno::WOULDBLOCK | Errno::ACCESS | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Turn {
    /// None where there is no /proc: two threads that change the node at once are then the client's own affair.
    fn take() -> Result<Option<Turn>, (PathBuf, io::Error)> {
        let Ok(own) = File::open(OWN_PROCESS) else { return Ok(None) };
        loop {
            match flock(&own, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Some(Turn(own))),
                Err(Errno::INTR) => {}
                Err(error) => return Err((PathBuf::from(OWN_PROCESS), error.into())),
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}
