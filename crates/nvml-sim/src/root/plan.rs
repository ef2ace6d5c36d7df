//! What a root shall hold, and laying it. It knows kinds of files, not their meaning.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use super::{RootError, RootReport};

/// Files to be, below a root.
pub struct Plan {
    root: PathBuf,
    entries: Vec<(PathBuf, Entry)>,
}

enum Entry {
    File { bytes: Vec<u8>, mode: u32 },
    Copy { from: PathBuf, mode: u32 },
    Link { to: PathBuf },
    Device { major: u32, minor: u32 },
}

impl Plan {
    /// An empty plan.
    pub fn new(root: &Path) -> Plan {
        Plan { root: root.to_owned(), entries: Vec::new() }
    }

    /// The root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A file that all may read.
    pub fn file(&mut self, path: impl Into<PathBuf>, text: impl Into<Vec<u8>>) {
        self.entries.push((path.into(), Entry::File { bytes: text.into(), mode: 0o644 }));
    }

    /// A program.
    pub fn program(&mut self, path: impl Into<PathBuf>, bytes: Vec<u8>) {
        self.entries.push((path.into(), Entry::File { bytes, mode: 0o755 }));
    }

    /// A copy of a library.
    pub fn library(&mut self, path: impl Into<PathBuf>, from: &Path) {
        self.entries.push((path.into(), Entry::Copy { from: from.to_owned(), mode: 0o755 }));
    }

    /// A symbolic link.
    pub fn link(&mut self, path: impl Into<PathBuf>, to: impl Into<PathBuf>) {
        self.entries.push((path.into(), Entry::Link { to: to.into() }));
    }

    /// A character device, or an empty file where we may not make one.
    pub fn device(&mut self, path: impl Into<PathBuf>, major: u32, minor: u32) {
        self.entries.push((path.into(), Entry::Device { major, minor }));
    }

    /// Lays everything.
    pub fn carry_out(self) -> Result<RootReport, RootError> {
        let mut replaced_devices = 0_usize;
        for (path, entry) in &self.entries {
            let path = self.root.join(path);
            let failed = |source| RootError::Io { action: "lay", path: path.clone(), source };
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(failed)?;
            }
            if !lay(&path, entry).map_err(failed)? {
                replaced_devices += 1;
            }
        }
        let mut notes = Vec::new();
        if replaced_devices > 0 {
            notes.push(format!(
                "{replaced_devices} device nodes are empty files: only root may make real ones, \
                 so containers cannot be tested for access with this root"
            ));
        }
        Ok(RootReport { root: self.root, entries: self.entries.len(), notes })
    }
}

/// Lays one entry; false where a device became a file. A running program may have a library of the same name
/// open, so each is made beside and renamed.
fn lay(path: &Path, entry: &Entry) -> io::Result<bool> {
    let next =
        path.with_file_name(format!(".{}.next", path.file_name().unwrap_or_default().to_string_lossy()));
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut whole = true;
    match entry {
        Entry::File { bytes, mode } => {
            fs::write(&next, bytes)?;
            fs::set_permissions(&next, fs::Permissions::from_mode(*mode))?;
        }
        Entry::Copy { from, mode } => {
            fs::copy(from, &next)?;
            fs::set_permissions(&next, fs::Permissions::from_mode(*mode))?;
        }
        Entry::Link { to } => symlink(to, &next)?,
        Entry::Device { major, minor } => {
            let device = makedev(*major, *minor);
            let mode = Mode::from_bits_truncate(0o666);
            if mknodat(CWD, &next, FileType::CharacterDevice, mode, device).is_err() {
                fs::write(&next, b"")?;
                whole = false;
            }
            fs::set_permissions(&next, fs::Permissions::from_mode(0o666))?;
        }
    }
    fs::rename(&next, path)?;
    Ok(whole)
}
