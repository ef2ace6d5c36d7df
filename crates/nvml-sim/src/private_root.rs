//! A mount namespace of this process's own, in which a laid host root shows through at the machine's own paths. It knows
//! mounts and directory entries; it knows no GPU, and writes to no file of the machine.
//!
//! Where a directory of the machine lacks an entry of the root, or has a link in its place, a small memory file system
//! takes the directory's place, with every entry of before bound into it. So nothing is made in the machine's own. `/proc`
//! itself, whose entries come and go with processes, cannot be replaced so: what it lacks stays missing.

use std::collections::BTreeSet;
use std::ffi::{CString, OsString};
use std::fs::{self, File, FileType};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind_recursive, mount_change};
use rustix::thread::UnshareFlags;
use thiserror::Error;

/// What of a root shows through. The rest of it, such as a state folder, is not a driver's.
const SHOWN: &[&str] = &["dev", "proc", "sys", "usr"];
const PROC: &str = "/proc";
/// The bits of a mode that are permissions.
const PERMISSIONS: u32 = 0o7777;

/// Why the machine's paths could not be covered.
#[derive(Debug, Error)]
pub enum PrivateRootError {
    /// Mounting is root's.
    #[error(
        "a private mount namespace needs root; as another user, put `unshare --map-root-user --mount` \
         before this command: the program then takes itself for root"
    )]
    NeedsRoot,
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

type Result<T> = std::result::Result<T, PrivateRootError>;

fn failed<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> PrivateRootError {
    let path = path.to_owned();
    move |source| PrivateRootError::Io { action, path, source: source.into() }
}

/// Puts this process, and whatever it starts, where the root covers the machine's own paths. Gives the paths that could not
/// be added.
pub fn enter(root: &Path) -> Result<Vec<PathBuf>> {
    if !rustix::process::geteuid().is_root() {
        return Err(PrivateRootError::NeedsRoot);
    }
    let root = root.canonicalize().map_err(failed("open", root))?;
    #[expect(deprecated, reason = "what made it unsafe is unsharing file descriptors, not mounts")]
    rustix::thread::unshare(UnshareFlags::NEWNS).map_err(failed("leave the mounts of", &root))?;
    let machine = Path::new("/");
    mount_change(machine, MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(failed("make private", machine))?;
    let mut missing = Vec::new();
    for name in SHOWN {
        let laid = root.join(name);
        if laid.is_dir() {
            cover(&machine.join(name), &laid, &mut missing)?;
        }
    }
    Ok(missing)
}

/// Lets the entries of `laid` show through in `host`.
fn cover(host: &Path, laid: &Path, missing: &mut Vec<PathBuf>) -> Result<()> {
    let laid_entries = entries(laid)?;
    let mut within = Vec::new();
    let mut over = Vec::new();
    let mut opened = false;
    for (name, laid_type) in &laid_entries {
        let there = fs::symlink_metadata(host.join(name)).map(|entry| entry.file_type()).ok();
        if laid_type.is_dir() && host.join(name).is_dir() {
            within.push(name);
        } else if there.is_none() && host == Path::new(PROC) {
            missing.push(host.join(name));
        } else {
            opened |= laid_type.is_symlink() || there.is_none_or(|there| !there.is_file());
            over.push((name, laid_type));
        }
    }
    if opened {
        let replaced = over.iter().map(|(name, _)| (*name).clone()).collect();
        open_up(host, &replaced)?;
    }
    for (name, laid_type) in over {
        let (source, target) = (laid.join(name), host.join(name));
        if opened {
            place(&source, &target, *laid_type)?;
        } else {
            bind(&source, &target)?;
        }
    }
    // A directory that is a link is covered where it really is.
    within.into_iter().try_for_each(|name| {
        let target = host.join(name);
        cover(&target.canonicalize().map_err(failed("open", &target))?, &laid.join(name), missing)
    })
}

/// A memory file system in place of a directory, with its entries but for those that are replaced.
fn open_up(host: &Path, replaced: &BTreeSet<OsString>) -> Result<()> {
    let before: OwnedFd = openat(CWD, host, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(failed("open", host))?;
    let there = entries(host)?;
    let mode = fs::metadata(host).map_err(failed("look at", host))?.mode() & PERMISSIONS;
    let options = CString::new(format!("mode={mode:o}")).map_err(failed("mount over", host))?;
    mount("tmpfs", host, "tmpfs", MountFlags::empty(), options.as_c_str())
        .map_err(failed("mount over", host))?;
    // The descriptor still leads to what lies beneath.
    let beneath = PathBuf::from(format!("/proc/self/fd/{}", before.as_raw_fd()));
    for (name, entry_type) in there.iter().filter(|(name, _)| !replaced.contains(name)) {
        place(&beneath.join(name), &host.join(name), *entry_type)?;
    }
    Ok(())
}

/// An entry where there is none yet: a link is made anew, all else is bound.
fn place(source: &Path, target: &Path, source_type: FileType) -> Result<()> {
    if source_type.is_symlink() {
        let leads = fs::read_link(source).map_err(failed("read", source))?;
        return symlink(leads, target).map_err(failed("link", target));
    }
    if source_type.is_dir() {
        fs::create_dir(target).map_err(failed("create", target))?;
    } else {
        File::create_new(target).map_err(failed("create", target))?;
    }
    bind(source, target)
}

fn bind(source: &Path, target: &Path) -> Result<()> {
    mount_bind_recursive(source, target).map_err(failed("mount over", target))
}

/// Names and types of a directory's entries.
fn entries(dir: &Path) -> Result<Vec<(OsString, FileType)>> {
    let list = fs::read_dir(dir).map_err(failed("read", dir))?;
    list.map(|entry| {
        let entry = entry.map_err(failed("read", dir))?;
        Ok((entry.file_name(), entry.file_type().map_err(failed("look at", &entry.path()))?))
    })
    .collect()
}
