//! What the kubelet remembers over its own restart, as a file in the plugin folder. Knows the books' pods and no rule.
//!
//! The real kubelet uses the same file name with a checksummed format of its own; nobody else may read either.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use kubelet_api::deviceplugin::CHECKPOINT_NAME;
use serde::{Deserialize, Serialize};

use crate::{books::PodBook, state::PodName};

/// What is remembered.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// Resources with a plugin, or one that was lost not long ago.
    pub(crate) registered: Vec<String>,
    /// What pods hold.
    pub(crate) pods: BTreeMap<PodName, PodBook>,
}

/// The file in a plugin folder.
pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join(CHECKPOINT_NAME)
}

/// Reads the file. As the real kubelet does, an absent or unreadable one is taken for empty.
pub(crate) fn read(dir: &Path) -> Checkpoint {
    let path = path(dir);
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
            tracing::error!(path = %path.display(), %error, "checkpoint is damaged, starting without it");
            Checkpoint::default()
        }),
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::error!(path = %path.display(), %error, "checkpoint cannot be read, starting without it");
            }
            Checkpoint::default()
        }
    }
}

/// Replaces the file.
pub(crate) fn write(dir: &Path, checkpoint: &Checkpoint) {
    let (path, fresh) = (path(dir), dir.join(format!(".{CHECKPOINT_NAME}")));
    let written = serde_json::to_vec(checkpoint)
        .map_err(io::Error::from)
        .and_then(|bytes| fs::write(&fresh, bytes))
        .and_then(|()| fs::rename(&fresh, &path));
    if let Err(error) = written {
        tracing::error!(path = %path.display(), %error, "checkpoint cannot be written");
    }
}
