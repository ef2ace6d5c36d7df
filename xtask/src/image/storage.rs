//! The folder in which an engine builds: one for each build, removed after it, or by the next if that one was killed.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// How such folders are named, before the process id.
const PREFIX: &str = "gantry-image-";

/// A folder that is locked as long as this lives. A folder without a lock belongs to nobody.
pub struct Storage {
    path: PathBuf,
    _lock: File,
}

impl Storage {
    /// Makes it below `parent`, and removes those there that were left by processes which were killed.
    pub fn make(parent: &Path) -> Result<Self> {
        sweep(parent)?;
        let path = parent.join(format!("{PREFIX}{}", std::process::id()));
        loop {
            match fs::create_dir(&path) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(error).with_context(|| format!("create {}", path.display()));
                }
                _ => {}
            }
            let lock = match File::open(&path) {
                // Swept away before it was opened.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                opened => opened.with_context(|| format!("open {}", path.display()))?,
            };
            lock.lock().with_context(|| format!("lock {}", path.display()))?;
            // Another process may have swept it away before it was locked.
            if path.exists() {
                return Ok(Self { path, _lock: lock });
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it with all that is in it.
    pub fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.path).with_context(|| format!("remove {}", self.path.display()))
    }
}

/// Removes what nobody holds. What cannot be removed is another user's.
fn sweep(parent: &Path) -> Result<()> {
    for entry in fs::read_dir(parent).with_context(|| format!("read {}", parent.display()))?.flatten() {
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if id.is_none_or(|id| id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_digit())) {
            continue;
        }
        if let Ok(lock) = File::open(entry.path())
            && lock.try_lock().is_ok()
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_of_a_killed_build_is_swept_and_that_of_a_running_one_stays() {
        let parent = tempfile::tempdir().unwrap();
        let at = |name: &str| parent.path().join(name);
        for folder in ["gantry-image-1/root/vfs", "gantry-image-2", "gantry-image-notes", "another"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        let running = File::open(at("gantry-image-2")).unwrap();
        running.lock().unwrap();
        let storage = Storage::make(parent.path()).unwrap();
        assert!(storage.path().is_dir() && !at("gantry-image-1").exists());
        for kept in ["gantry-image-2", "gantry-image-notes", "another"] {
            assert!(at(kept).is_dir(), "{kept}");
        }
        let path = storage.path().to_owned();
        storage.remove().unwrap();
        assert!(!path.exists());
    }
}
