//! What a root shall hold, and laying it. It knows kinds of files, not their meaning.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, major, makedev, minor, mknodat};

use super::{RootError, RootReport, record};
use crate::files::remove_if_there;

/// Files to be, below a root.
pub struct Plan {
    root: PathBuf,
    entries: Vec<(PathBuf, Entry)>,
}

enum Entry {
    File { bytes: Vec<u8>, mode: u32 },
    Copy { from: PathBuf, mode: u32 },
    Link { to: PathBuf },
    Device { number: Option<(u32, u32)> },
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
        self.entries.push((path.into(), Entry::Device { number: Some((major, minor)) }));
    }

    /// A device for which there is no number: always an empty file.
    pub fn device_without_number(&mut self, path: impl Into<PathBuf>) {
        self.entries.push((path.into(), Entry::Device { number: None }));
    }

    /// The number of the character device that lies there now.
    pub fn number_there(&self, path: &str) -> Option<(u32, u32)> {
        device_number(&self.root.join(path))
    }

    /// Lays everything, and removes what an earlier run laid and this one does not. What was and will be there is
    /// written down first, so that a run that is killed is made good by the next.
    pub fn carry_out(self) -> Result<RootReport, RootError> {
        self.lay_all(|_| true, |_, _| false)
    }

    /// Lays what is planned and is not there so already, and removes what else was laid of a part of the root.
    pub fn change(self, is_part: impl Fn(&Path) -> bool) -> Result<(), RootError> {
        self.lay_all(is_part, is_laid).map(|_| ())
    }

    fn lay_all(
        self,
        is_part: impl Fn(&Path) -> bool,
        is_laid: impl Fn(&Path, &Entry) -> bool,
    ) -> Result<RootReport, RootError> {
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |source| RootError::Io { action, path, source }
        };
        let root = &self.root;
        fs::create_dir_all(root).map_err(failed("create", root))?;
        let before = record::read(root).map_err(failed("read the record in", root))?;
        let mut planned: BTreeSet<PathBuf> = self.entries.iter().map(|(path, _)| path.clone()).collect();
        planned.extend(before.iter().filter(|path| !is_part(path)).cloned());
        let both: BTreeSet<PathBuf> = before.union(&planned).cloned().collect();
        if both != before {
            record::write(root, &both).map_err(failed("write the record in", root))?;
        }

        let (mut forbidden, mut without_number) = (0_usize, 0_usize);
        for (path, entry) in &self.entries {
            let path = root.join(path);
            if is_laid(&path, entry) {
                continue;
            }
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(failed("create", parent))?;
            }
            let whole = lay(&path, entry).map_err(failed("lay", &path))?;
            match entry {
                Entry::Device { number: None } => without_number += 1,
                _ if !whole => forbidden += 1,
                _ => {}
            }
        }
        for path in before.difference(&planned) {
            // What a run that was killed was about to put there.
            let next = beside(path);
            record::remove(root, &next).map_err(failed("remove", &root.join(&next)))?;
            record::remove(root, path).map_err(failed("remove", &root.join(path)))?;
        }
        if planned != both {
            record::write(root, &planned).map_err(failed("write the record in", root))?;
        }
        let notes = notes(forbidden, without_number);
        Ok(RootReport { entries: self.entries.len(), root: self.root, notes })
    }
}

/// What a person should know of device nodes that are plain files.
fn notes(forbidden: usize, without_number: usize) -> Vec<String> {
    if forbidden > 0 {
        return vec![format!(
            "{} device nodes are empty files: only root may make real ones, \
             so containers cannot be tested for access with this root",
            forbidden + without_number
        )];
    }
    let note = format!(
        "the device nodes of the last {without_number} GPUs and MIG capabilities are empty files: \
         there are no more numbers that a container is denied and that no other device of a machine has"
    );
    if without_number > 0 { vec![note] } else { Vec::new() }
}

/// Whether an entry is there already. Of a device that has no number there is no telling.
fn is_laid(path: &Path, entry: &Entry) -> bool {
    match entry {
        Entry::File { bytes, .. } => fs::read(path).is_ok_and(|there| there == *bytes),
        Entry::Copy { .. } => false,
        Entry::Link { to } => fs::read_link(path).is_ok_and(|there| there == *to),
        Entry::Device { number } => number.is_some() && device_number(path) == *number,
    }
}

fn device_number(path: &Path) -> Option<(u32, u32)> {
    let there = path.symlink_metadata().ok().filter(|there| there.file_type().is_char_device())?;
    Some((major(there.rdev()), minor(there.rdev())))
}

/// Where an entry is made before it takes its place.
fn beside(path: &Path) -> PathBuf {
    path.with_file_name(format!(".{}.next", path.file_name().unwrap_or_default().to_string_lossy()))
}

/// Lays one entry; false where a device became a file. A running program may have a library of the same name
/// open, so each is made beside and renamed.
fn lay(path: &Path, entry: &Entry) -> io::Result<bool> {
    let next = beside(path);
    remove_if_there(&next)?;
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
        Entry::Device { number } => {
            let mode = Mode::from_bits_truncate(0o666);
            whole = number.is_some_and(|(major, minor)| {
                mknodat(CWD, &next, FileType::CharacterDevice, mode, makedev(major, minor)).is_ok()
            });
            if !whole {
                fs::write(&next, b"")?;
            }
            fs::set_permissions(&next, fs::Permissions::from_mode(0o666))?;
        }
    }
    fs::rename(&next, path)?;
    Ok(whole)
}
