//! What an earlier run laid into a root, kept there: so that a smaller node or another driver version leaves no files
//! of the one before. It knows paths, not what lies there.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::{fs, io};

use crate::files::{read_paths, write_paths};

/// In the root: one path a line, below the root.
const RECORD: &str = ".nvml-sim-root";

/// Whether a root was laid by this program, be it in part.
pub fn is_there(root: &Path) -> bool {
    root.join(RECORD).is_file()
}

/// What was laid; nothing where there is no record.
pub fn read(root: &Path) -> io::Result<BTreeSet<PathBuf>> {
    // A record that someone wrote into must not lead out of the root.
    let is_below = |path: &PathBuf| path.components().all(|part| matches!(part, Component::Normal(_)));
    Ok(read_paths(&root.join(RECORD))?.into_iter().filter(is_below).collect())
}

/// Writes down what is laid, or about to be.
pub fn write(root: &Path, paths: &BTreeSet<PathBuf>) -> io::Result<()> {
    write_paths(&root.join(RECORD), paths)
}

/// Removes a file of an earlier run, and the folders that are empty without it.
pub fn remove(root: &Path, path: &Path) -> io::Result<()> {
    match fs::remove_file(root.join(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        // Something else took its place, or that of its folder.
        Err(error) if matches!(error.kind(), io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory) => {
            return Ok(());
        }
        removed => removed?,
    }
    let folders = path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
    for folder in folders {
        if fs::remove_dir(root.join(folder)).is_err() {
            break;
        }
    }
    Ok(())
}
