//! Files by whose names others go: removing one that may be gone, and lists of paths that are whole at each moment. It knows
//! no meaning of them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Removes a file, if it is there.
pub fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The paths in a file, one a line; none where there is no such file.
pub fn read_paths(file: &Path) -> io::Result<BTreeSet<PathBuf>> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(text.lines().map(PathBuf::from).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error),
    }
}

/// Writes them beside the file, and lets them take its place.
pub fn write_paths(file: &Path, paths: &BTreeSet<PathBuf>) -> io::Result<()> {
    let text: String = paths.iter().map(|path| format!("{}\n", path.display())).collect();
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let next = file.with_file_name(format!("{name}.next"));
    fs::write(&next, text)?;
    fs::rename(&next, file)
}
