//! A folder with the driver's libraries only, to be a worker's `LD_LIBRARY_PATH`.
//!
//! The host's whole library folder would bring the host's glibc with it, beside the container's own. The
//! folder holds one link per library name, each to where this process has the file. It is named after its
//! content, so that staging the same driver again reuses it, and a second instance of the daemon shares it;
//! stages of another driver are removed.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

use crate::driver_root::{DriverRoot, FilesError};
use crate::path::LocalPath;

/// What every stage's name begins with.
const PREFIX: &str = "driver-";

/// Staged libraries. The folder stays until another driver is staged in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedLibraries {
    /// The folder.
    pub folder: LocalPath,
    /// The NVML library in it.
    pub nvml: LocalPath,
    /// The driver's version.
    pub version: String,
}

/// The libraries could not be staged.
#[derive(Debug, Error)]
pub enum StageError {
    /// There is no driver, or its folders cannot be listed.
    #[error(transparent)]
    Driver(#[from] FilesError),
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

/// Stages the driver's libraries in a folder below `parent`, which is made if need be.
pub fn libraries(driver: &DriverRoot, parent: &LocalPath) -> Result<StagedLibraries, StageError> {
    let version = driver.version()?;
    let mut links = BTreeMap::new();
    for library in driver.libraries()? {
        for name in library.names {
            links.entry(name).or_insert_with(|| PathBuf::from(library.local.clone()));
        }
    }
    // The SONAME must be there even where the package has the plain file alone.
    links
        .entry("libnvidia-ml.so.1".to_owned())
        .or_insert(driver.find_nvml().map_err(FilesError::from)?.into());

    let name = format!("{PREFIX}{version}-{:016x}", fingerprint(&links));
    make(parent, &name, &links)
        .map_err(|(path, source)| StageError::Io { path: LocalPath::new(path), source })?;
    let folder = parent.join(name);
    Ok(StagedLibraries { nvml: folder.join("libnvidia-ml.so.1"), folder, version })
}

/// Makes the stage `name` below `parent`, and removes the others. Errors come with the path.
fn make(
    parent: &LocalPath,
    name: &str,
    links: &BTreeMap<String, PathBuf>,
) -> Result<(), (PathBuf, io::Error)> {
    let parent = parent.as_path();
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error: io::Error| (path.clone(), error)
    };
    fs::DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(at(parent))?;
    let _lock = lock(parent).map_err(at(parent))?;

    let stage = parent.join(name);
    if !is_complete(&stage, links) {
        let building = parent.join(format!("{name}.new"));
        remove(&building).map_err(at(&building))?;
        remove(&stage).map_err(at(&stage))?;
        fs::create_dir(&building).map_err(at(&building))?;
        for (link, target) in links {
            let link = building.join(link);
            symlink(target, &link).map_err(at(&link))?;
        }
        fs::rename(&building, &stage).map_err(at(&stage))?;
    }
    for entry in fs::read_dir(parent).map_err(at(parent))?.flatten() {
        let other = entry.file_name();
        if other.to_str().is_some_and(|other| other.starts_with(PREFIX) && other != name) {
            // A stuck worker may still hold it; then it goes next time.
            let _ = remove(&entry.path());
        }
    }
    Ok(())
}

/// One stager at a time, also across containers that share the folder.
fn lock(parent: &Path) -> io::Result<File> {
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(parent.join(".lock"))?;
    flock(&file, FlockOperation::LockExclusive)?;
    Ok(file)
}

fn is_complete(stage: &Path, links: &BTreeMap<String, PathBuf>) -> bool {
    links.iter().all(|(name, target)| fs::read_link(stage.join(name)).is_ok_and(|found| found == *target))
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A name for the content: it need only differ where the content does, within one build of the daemon.
fn fingerprint(links: &BTreeMap<String, PathBuf>) -> u64 {
    let mut hasher = DefaultHasher::new();
    links.hash(&mut hasher);
    hasher.finish()
}
