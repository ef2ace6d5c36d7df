//! A spec's file in a CDI folder, which runtimes watch.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;

use node_host::{LocalPath, atomic};
use thiserror::Error;

use crate::check::{self, Nonsense};
use crate::spec::{Kind, Spec};

/// Readable by everyone: runtimes without root read specs too.
const FILE_MODE: u32 = 0o644;
const FOLDER_MODE: u32 = 0o755;

/// A spec that was not written. An older file under its name is untouched, but for a last step that failed: see
/// [`atomic::WriteError::replaced`].
#[derive(Debug, Error)]
pub enum WriteError {
    /// A runtime would refuse it.
    #[error("refusing to write a CDI spec that no runtime would take")]
    Nonsense(#[from] Nonsense),
    /// It has no JSON form.
    #[error("cannot put the CDI spec in JSON")]
    Json(#[from] serde_json::Error),
    /// The folder could not be made.
    #[error("cannot make the CDI folder {folder}")]
    Folder {
        /// The folder.
        folder: LocalPath,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file could not be written.
    #[error(transparent)]
    File(#[from] atomic::WriteError),
}

/// Writes `spec` into the CDI folder `dir`, which is made if need be, in place of an older one of its kind.
/// Returns the file's path.
pub fn write(dir: &LocalPath, spec: &Spec) -> Result<LocalPath, WriteError> {
    check::check(spec)?;
    let text = spec.to_json()?;
    let made = fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(dir);
    made.map_err(|source| WriteError::Folder { folder: dir.clone(), source })?;
    let path = dir.join(file_name(&spec.kind));
    atomic::write(&path, text.as_bytes(), FILE_MODE)?;
    Ok(path)
}

/// The file name of a kind's spec: `gantry.dev-gpu.json` for `gantry.dev/gpu`.
pub fn file_name(kind: &Kind) -> String {
    format!("{}-{}.json", kind.vendor(), kind.class())
}
