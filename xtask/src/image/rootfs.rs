//! What is in an image, staged as a folder. Modes and times are set, since those on the build machine depend on who
//! builds and when.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use super::metadata::Metadata;
use super::{glibc, licences};

/// What is in an image beside what its program needs.
pub struct Contents<'a> {
    /// The program's name.
    pub name: &'a str,
    /// Another name for it.
    pub other_name: Option<&'a str>,
    /// Where it was built.
    pub program: &'a Path,
}

/// Stages an image's root in an empty folder `rootfs`. `time`, in seconds since 1970, is that of all that is in it.
pub fn stage(rootfs: &Path, contents: &Contents<'_>, metadata: &Metadata, time: u64) -> Result<()> {
    let Contents { name, other_name, program } = *contents;
    if rootfs.exists() {
        fs::remove_dir_all(rootfs).with_context(|| format!("empty {}", rootfs.display()))?;
    }
    let in_image = Path::new("/usr/bin").join(name);
    copy(program, rootfs, &in_image, 0o755)?;
    if let Some(other) = other_name {
        symlink(name, rootfs.join("usr/bin").join(other)).with_context(|| format!("link {other}"))?;
    }
    copy(glibc::loader()?, rootfs, glibc::loader()?, 0o755)?;
    for library in glibc::libraries(program)? {
        copy(&library, rootfs, &library, 0o644)?;
    }
    licences::write(&rootfs.join("usr/share/licenses"), name, metadata)?;
    settle(rootfs, time)
}

/// Gives everything below `path`, and `path` itself, the mode that it has in the image and one time.
fn settle(path: &Path, time: u64) -> Result<()> {
    let metadata = fs::symlink_metadata(path).with_context(|| format!("stat {}", path.display()))?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path).with_context(|| format!("read {}", path.display()))? {
            settle(&entry.with_context(|| format!("read {}", path.display()))?.path(), time)?;
        }
    }
    if !metadata.is_symlink() {
        let executable = metadata.is_dir() || metadata.permissions().mode() & 0o100 != 0;
        let mode = if executable { 0o755 } else { 0o644 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .with_context(|| format!("chmod {}", path.display()))?;
    }
    let at = Timespec { tv_sec: time.cast_signed(), tv_nsec: 0 };
    let times = Timestamps { last_access: at, last_modification: at };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
        .with_context(|| format!("set the time of {}", path.display()))
}

/// Copies a file, links followed, to a path of the image.
fn copy(from: &Path, rootfs: &Path, in_image: &Path, mode: u32) -> Result<()> {
    let to = rootfs.join(in_image.strip_prefix("/").unwrap_or(in_image));
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    }
    fs::copy(from, &to).with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
    fs::set_permissions(&to, fs::Permissions::from_mode(mode))
        .with_context(|| format!("chmod {}", to.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn staged_tree_has_one_time_and_the_images_modes_whoever_built_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("rootfs");
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        symlink("program", root.join("usr/bin/other")).unwrap();
        // As with umask 077, and a licence that someone made writable.
        for (name, mode) in [("usr/bin/program", 0o700), ("usr/licence", 0o666), ("usr/bin", 0o700)] {
            let path = root.join(name);
            if !path.is_dir() {
                fs::write(&path, name).unwrap();
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        settle(&root, 1_700_000_000).unwrap();
        for (name, mode) in
            [("", 0o755), ("usr/bin", 0o755), ("usr/bin/program", 0o755), ("usr/licence", 0o644)]
        {
            let metadata = fs::metadata(root.join(name)).unwrap();
            assert_eq!(metadata.mode() & 0o7777, mode, "{name}");
            assert_eq!(metadata.mtime(), 1_700_000_000, "{name}");
        }
        assert_eq!(fs::symlink_metadata(root.join("usr/bin/other")).unwrap().mtime(), 1_700_000_000);
    }
}
