//! Files replaced whole: a reader sees the old content or the new one, whatever dies in between.
//!
//! The new content goes to a temporary file in the same folder, `.<name>.<pid>-<n>.tmp`, is synced, and
//! renamed over the old. A writer holds a lock on its temporary file, so that the next writer can tell
//! leftovers of a dead one (also one of another container, whose process ids mean nothing here) and
//! removes them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use thiserror::Error;

use crate::path::LocalPath;

/// Tries to make a temporary file before giving up: only another writer's clean-up can spoil one.
const ATTEMPTS: u32 = 16;

/// The one step after which a failure finds the new content in place.
const SYNC_FOLDER: &str = "syncing the folder";

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A file that could not be written. Its old content, if any, is untouched, unless [`WriteError::replaced`] says
/// otherwise.
#[derive(Debug, Error)]
#[error("cannot write {path}: {step} failed")]
pub struct WriteError {
    path: LocalPath,
    step: &'static str,
    #[source]
    source: io::Error,
}

impl WriteError {
    /// Which step failed, in words.
    pub fn step(&self) -> &'static str {
        self.step
    }

    /// Whether readers see the new content all the same: it is whole and in place, and only whether it outlasts a
    /// loss of power is not known.
    pub fn replaced(&self) -> bool {
        self.step == SYNC_FOLDER
    }

    /// What the system said.
    pub fn io(&self) -> &io::Error {
        &self.source
    }
}

/// Makes the folder that a file is to stand in, and those above it.
///
/// # Errors
/// When the system refuses, in words.
pub fn make_folder_of(file: &LocalPath) -> Result<(), String> {
    let Some(folder) = file.parent() else { return Ok(()) };
    fs::create_dir_all(folder.as_path()).map_err(|error| format!("cannot make {folder}: {error}"))
}

/// Replaces the file at `path` by `bytes`, with the permission bits `mode` whatever the umask. Its folder
/// must exist.
pub fn write(path: &LocalPath, bytes: &[u8], mode: u32) -> Result<(), WriteError> {
    let fail = |step| move |source| WriteError { path: path.clone(), step, source };
    let name = path.as_path().file_name().and_then(|name| name.to_str());
    let name = name.ok_or(io::ErrorKind::InvalidFilename.into()).map_err(fail("reading the file name"))?;
    let folder = match path.as_path().parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };

    // Opened before anything is replaced: a folder that cannot be synced is found out in time.
    let opened = File::open(folder).map_err(fail("opening the folder"))?;
    remove_leftovers(folder, name);
    let temporary = Temporary::create(folder, name, lock).map_err(fail("creating a temporary file"))?;
    temporary.file.set_permissions(fs::Permissions::from_mode(mode)).map_err(fail("setting the mode"))?;
    (&temporary.file).write_all(bytes).map_err(fail("writing the temporary file"))?;
    temporary.file.sync_all().map_err(fail("syncing the temporary file"))?;
    temporary.rename_to(path.as_path()).map_err(fail("renaming the temporary file"))?;
    opened.sync_all().map_err(fail(SYNC_FOLDER))
}

/// Takes the lock by which other writers tell a file in use from a leftover. `false` if one of them has it.
fn lock(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A temporary file under its lock; removed when dropped before it was renamed.
struct Temporary {
    path: PathBuf,
    file: File,
    renamed: bool,
}

impl Temporary {
    /// Makes one, and takes `lock` on it.
    fn create(folder: &Path, name: &str, lock: impl Fn(&File) -> io::Result<bool>) -> io::Result<Temporary> {
        for _ in 0..ATTEMPTS {
            let unique = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!(".{name}.{}-{unique}.tmp", std::process::id()));
            let file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            };
            let temporary = Temporary { path, file, renamed: false };
            // Between open and lock another writer may take the file for a leftover.
            if lock(&temporary.file)? && temporary.file.metadata()?.nlink() > 0 {
                return Ok(temporary);
            }
        }
        Err(io::Error::other("other writers keep removing it"))
    }

    fn rename_to(mut self, target: &Path) -> io::Result<()> {
        fs::rename(&self.path, target)?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes temporary files of `name` that nobody holds a lock on. Best effort: a leftover harms nobody.
fn remove_leftovers(folder: &Path, name: &str) {
    let prefix = format!(".{name}.");
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let file_name = entry.file_name();
        let Some(rest) = file_name.to_str().and_then(|text| text.strip_prefix(&prefix)) else { continue };
        if !rest.strip_suffix(".tmp").is_some_and(is_our_mark) {
            continue;
        }
        let Ok(file) = File::open(entry.path()) else { continue };
        if lock(&file).is_ok_and(|is_free| is_free) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether `text` is `<pid>-<n>`.
fn is_our_mark(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('-').is_some_and(|(pid, count)| digits(pid) && digits(count))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn temporary_file_on_a_disk_without_locks_is_tried_once_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        for refusal in [Errno::NOLCK, Errno::OPNOTSUPP] {
            let tries = Cell::new(0);
            let lock = |_: &File| {
                tries.set(tries.get() + 1);
                Err(refusal.into())
            };
            let error = Temporary::create(folder.path(), "spec.json", lock).err().unwrap();
            assert_eq!((error.raw_os_error(), tries.get()), (Some(refusal.raw_os_error()), 1));
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn temporary_file_that_others_keep_taking_is_given_up_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Temporary::create(folder.path(), "spec.json", |_| Ok(false)).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn error_of_the_last_step_alone_says_that_the_file_was_replaced() {
        let failed = |step| WriteError { path: LocalPath::new("/x"), step, source: Errno::IO.into() };
        assert!(failed(SYNC_FOLDER).replaced());
        assert!(!failed("renaming the temporary file").replaced());
    }
}
