//! A folder with the driver's libraries only, to be a worker's `LD_LIBRARY_PATH`.
//!
//! The host's whole library folder would bring the host's glibc with it, beside the container's own. The
//! folder holds one link per library name, each to where this process has the file. It is named after its
//! content, so that staging the same driver again reuses it, and a second instance of the daemon shares it.
//! Whoever uses a stage holds a shared lock on it; a stage of another driver is removed once nobody does.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, poll};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use thiserror::Error;

use crate::driver_root::{DriverRoot, FilesError};
use crate::path::LocalPath;

/// What every stage's name begins with.
const PREFIX: &str = "driver-";

/// How long another process may keep the folder to itself. Staging takes milliseconds; a stopped process may hold
/// the lock for ever.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks at a lock that another process holds.
const LOOK_AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

/// The SONAME of NVML.
const NVML: &str = "libnvidia-ml.so.1";

/// Staged libraries. The folder stays while this or a clone of it lives, and after that until another driver is
/// staged beside it.
#[derive(Clone, Debug)]
pub struct StagedLibraries {
    /// The folder.
    pub folder: LocalPath,
    /// The NVML library in it.
    pub nvml: LocalPath,
    /// The driver's version.
    pub version: String,
    /// A shared lock on the folder, by which others know that it is in use.
    _in_use: Arc<File>,
}

/// The libraries could not be staged.
#[derive(Debug, Error)]
pub enum StageError {
    /// There is no driver, or its files cannot be told.
    #[error(transparent)]
    Driver(#[from] FilesError),
    /// Another process stages there, and does not come to an end.
    #[error(
        "{path} has been held by another process for {} s: it may be stopped or stuck, and ending it helps",
        patience.as_secs_f64()
    )]
    Held {
        /// The lock's file.
        path: LocalPath,
        /// How long it was waited for.
        patience: Duration,
    },
    /// The stage could not be made.
    #[error("cannot stage the driver's libraries in {path}")]
    Io {
        /// What could not be made.
        path: LocalPath,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Stages the driver's libraries in a folder below `parent`, which is made if need be. Blocks while another process
/// stages there, for 5 seconds at the longest.
pub fn libraries(driver: &DriverRoot, parent: &LocalPath) -> Result<StagedLibraries, StageError> {
    libraries_within(driver, parent, PATIENCE)
}

/// As [`libraries`], with a bound of the caller's on the wait for another process.
pub fn libraries_within(
    driver: &DriverRoot,
    parent: &LocalPath,
    patience: Duration,
) -> Result<StagedLibraries, StageError> {
    let version = driver.version()?;
    let mut links = BTreeMap::new();
    for library in driver.libraries()? {
        for name in library.names {
            // All in one folder here: the plain library folder goes before its subfolders.
            links.entry(name).or_insert_with(|| PathBuf::from(library.local.clone()));
        }
    }
    // The SONAME must be there even where the package has the plain file alone.
    links.entry(NVML.to_owned()).or_insert(driver.find_nvml().map_err(FilesError::from)?.into());

    let name = format!("{PREFIX}{version}-{:016x}", fingerprint(&links));
    let _in_use = make(parent, &name, &links, patience)?;
    let folder = parent.join(name);
    Ok(StagedLibraries { nvml: folder.join(NVML), folder, version, _in_use })
}

/// Makes the stage `name` below `parent`, takes it into use, and removes those that nobody uses.
fn make(
    parent: &LocalPath,
    name: &str,
    links: &BTreeMap<String, PathBuf>,
    patience: Duration,
) -> Result<Arc<File>, StageError> {
    let parent = parent.as_path();
    fs::DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(at(parent))?;
    let _one_at_a_time = lock(parent, patience)?;

    let stage = parent.join(name);
    match fs::DirBuilder::new().mode(0o755).create(&stage) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(at(&stage)(error)),
        _ => {}
    }
    // In use before it is filled, so that it stays even if this process dies in between and another goes on.
    let in_use = File::open(&stage).map_err(at(&stage))?;
    flock(&in_use, FlockOperation::LockShared).map_err(|error| at(&stage)(error.into()))?;
    for (link, target) in links {
        let link = stage.join(link);
        put_link(&link, target).map_err(at(&link))?;
    }
    for entry in fs::read_dir(parent).map_err(at(parent))?.flatten() {
        let other = entry.file_name();
        if other.to_str().is_some_and(|other| other.starts_with(PREFIX) && other != name) {
            // Best effort: what stays goes with a later stage.
            let _ = remove_unused(&entry.path());
        }
    }
    Ok(Arc::new(in_use))
}

/// One stager at a time, also across containers that share the folder.
fn lock(parent: &Path, patience: Duration) -> Result<File, StageError> {
    let path = parent.join(".lock");
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(at(&path))?;
    let deadline = Instant::now() + patience;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => pause(),
            Err(Errno::WOULDBLOCK) => {
                return Err(StageError::Held { path: LocalPath::new(path), patience });
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(at(&path)(error.into())),
        }
    }
}

/// A moment's wait between two looks at a lock: the file system does not tell when one is given back.
fn pause() {
    // An interrupted wait is a short one.
    let _ = poll(&mut [], Some(&LOOK_AGAIN));
}

/// Makes `link` lead to `target`, in place of whatever stands there; a reader sees the old or the new.
fn put_link(link: &Path, target: &Path) -> io::Result<()> {
    if fs::read_link(link).is_ok_and(|found| found == *target) {
        return Ok(());
    }
    let building = link.with_added_extension("new");
    match fs::remove_file(&building) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(target, &building)?;
    fs::rename(&building, link)
}

/// Removes a stage, unless somebody has it in use.
fn remove_unused(stage: &Path) -> io::Result<()> {
    let folder = File::open(stage)?;
    flock(&folder, FlockOperation::NonBlockingLockExclusive)?;
    fs::remove_dir_all(stage)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> StageError {
    let path = LocalPath::new(path);
    move |source| StageError::Io { path, source }
}

/// A name for the content: it need only differ where the content does, within one build of the daemon.
fn fingerprint(links: &BTreeMap<String, PathBuf>) -> u64 {
    let mut hasher = DefaultHasher::new();
    links.hash(&mut hasher);
    hasher.finish()
}
