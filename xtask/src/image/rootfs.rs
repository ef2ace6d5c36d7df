//! What is in an image, staged as a folder.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Context, Result};

use super::metadata::Metadata;
use super::{glibc, licences};

/// Stages the root of the image of `program` in an empty folder `rootfs`.
pub fn stage(rootfs: &Path, name: &str, program: &Path, metadata: &Metadata) -> Result<()> {
    if rootfs.exists() {
        fs::remove_dir_all(rootfs).with_context(|| format!("empty {}", rootfs.display()))?;
    }
    let in_image = Path::new("/usr/bin").join(name);
    copy(program, rootfs, &in_image, 0o755)?;
    symlink(&in_image, rootfs.join("entrypoint")).context("link the entry point")?;
    copy(glibc::loader()?, rootfs, glibc::loader()?, 0o755)?;
    for library in glibc::libraries(program)? {
        copy(&library, rootfs, &library, 0o644)?;
    }
    licences::write(&rootfs.join("usr/share/licenses"), name, metadata)
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
