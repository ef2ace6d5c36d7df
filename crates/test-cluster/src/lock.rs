//! One process at a time, which says so when it has to wait.

use std::fs::{File, TryLockError};
use std::path::Path;

use anyhow::{Context, Result};

use crate::progress::Progress;

/// Takes the lock file `path`, which is held until the returned file is dropped. `busy` is what another holder of it
/// does.
pub(crate) fn lock(path: &Path, busy: &str, progress: &Progress) -> Result<File> {
    let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => {
            progress.say(format!("waiting: another process is {busy} (it holds {})", path.display()));
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("lock {}", path.display()));
        }
    }
    file.lock().with_context(|| format!("lock {}", path.display()))?;
    Ok(file)
}
