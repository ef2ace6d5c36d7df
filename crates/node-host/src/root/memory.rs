//! What one look at many files found of the folders on the way to them. It knows no roots: paths come as keys.

use std::collections::HashMap;
use std::fs::FileType;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What stands at a path.
pub(super) enum Seen {
    /// A folder, and no link to one.
    Folder,
    /// Anything else.
    Other(FileType),
}

/// What is remembered, if anything is.
#[derive(Clone, Debug)]
pub(super) struct Memory(Option<Arc<Mutex<Known>>>);

/// By path: whether a folder is there, or nothing.
type Known = HashMap<PathBuf, bool>;

impl Memory {
    /// One that forgets everything at once.
    pub fn none() -> Memory {
        Memory(None)
    }

    /// One that remembers, together with its clones.
    pub fn new() -> Memory {
        Memory(Some(Arc::default()))
    }

    /// What stands at `here`, which is remembered under `key`.
    pub fn look(&self, key: &Path, here: &Path) -> io::Result<Seen> {
        match self.known(key) {
            Some(true) => return Ok(Seen::Folder),
            Some(false) => return Err(io::ErrorKind::NotFound.into()),
            None => {}
        }
        match here.symlink_metadata() {
            Ok(found) if found.is_dir() => {
                self.learn(key, true);
                Ok(Seen::Folder)
            }
            Ok(found) => Ok(Seen::Other(found.file_type())),
            Err(error) => {
                if error.kind() == io::ErrorKind::NotFound {
                    self.learn(key, false);
                }
                Err(error)
            }
        }
    }

    fn known(&self, key: &Path) -> Option<bool> {
        let known = self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(key).copied()
    }

    fn learn(&self, key: &Path, is_folder: bool) {
        if let Some(known) = &self.0 {
            known.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), is_folder);
        }
    }
}

/// What is remembered of a root does not make it another one.
impl PartialEq for Memory {
    fn eq(&self, _: &Memory) -> bool {
        true
    }
}

impl Eq for Memory {}
