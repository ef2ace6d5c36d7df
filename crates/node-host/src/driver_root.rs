//! The folder below which an NVIDIA driver is installed, and what of it a container needs.
//!
//! It goes by names and links alone and opens no library. The name under which the loader asks for a
//! library (its SONAME) is read from the `.so.N` links that lead to the file, which every driver package
//! installs with it; a file that no such link leads to bears its SONAME as its own name, as NVIDIA's
//! internal libraries do.

mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::path::{HostPath, LocalPath};
use crate::root::{HostRoot, Root};

/// The library by which a driver is found.
const NVML: &str = "libnvidia-ml.so.1";

/// Folders of libraries, in the order in which they are searched: the one that NVIDIA's own tools use.
const LIBRARY_FOLDERS: [&str; 6] = [
    "usr/lib64",
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
    "lib64",
    "lib/x86_64-linux-gnu",
    "lib/aarch64-linux-gnu",
];

/// Folders of programs, in the order in which they are searched.
const BINARY_FOLDERS: [&str; 5] = ["usr/bin", "usr/sbin", "bin", "sbin", "opt/bin"];

/// The folder below which a driver is installed: the host's root, or a driver container's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverRoot(Root);

/// No driver was found. Temporary by nature: a driver may be installed later.
#[derive(Debug, Error)]
#[error("no NVIDIA driver: {NVML} is in none of {}", list(searched))]
pub struct NoDriver {
    /// Every path that was looked at, in order.
    pub searched: Vec<LocalPath>,
}

/// A folder of the driver root could not be listed.
#[derive(Debug, Error)]
#[error("cannot list {folder}")]
pub struct ListError {
    folder: LocalPath,
    #[source]
    source: io::Error,
}

/// One library of the driver, and the names by which programs ask for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DriverLibrary {
    /// Folder below the library folder: empty, or `vdpau`.
    pub subfolder: String,
    /// The file's own name, such as `libcuda.so.580.95.05`.
    pub file_name: String,
    /// Every name that a container must find it under: its own, its SONAME, and for `libcuda` and `libnvidia-ml`
    /// also the plain `.so`, which programs ask for at run time.
    pub names: BTreeSet<String>,
    /// Where the host has the file, links resolved.
    pub host: HostPath,
    /// Where this process has it.
    pub local: LocalPath,
}

/// One program of the driver.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DriverBinary {
    /// Its name, such as `nvidia-smi`.
    pub name: String,
    /// Where the host has the file, links resolved.
    pub host: HostPath,
    /// Where this process has it.
    pub local: LocalPath,
}

/// What of a driver a container needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverFiles {
    /// Version of the driver, from the name of its NVML library.
    pub version: String,
    /// Debian's name of this machine's architecture, as in `/usr/lib/<multiarch>`.
    pub multiarch: String,
    /// Libraries, sorted.
    pub libraries: Vec<DriverLibrary>,
    /// Programs, sorted.
    pub binaries: Vec<DriverBinary>,
}

impl DriverRoot {
    /// A driver root that this process has at `local`, below the host's root. `None` if it is elsewhere: then
    /// only the caller can know the host's name for it, and gives it to [`DriverRoot::at`].
    pub fn below(host: &HostRoot, local: LocalPath) -> Option<DriverRoot> {
        Some(DriverRoot(Root::new(host.host(&local)?, local)))
    }

    /// A driver root which the host has at `host`, and this process at `local`.
    pub fn at(host: HostPath, local: LocalPath) -> DriverRoot {
        DriverRoot(Root::new(host, local))
    }

    /// The folder itself.
    pub fn root(&self) -> &Root {
        &self.0
    }

    /// Where this process has the driver's NVML library, links resolved below this root.
    pub fn find_nvml(&self) -> Result<LocalPath, NoDriver> {
        self.nvml_inside().map(|inside| self.0.local_path(&inside))
    }

    /// Version of the installed driver, as its NVML library's file name gives it: `580.95.05`.
    pub fn version(&self) -> Result<String, NoDriver> {
        self.nvml_inside().map(|inside| version_of(&inside))
    }

    /// Everything of the driver that a container needs.
    pub fn files(&self) -> Result<DriverFiles, FilesError> {
        Ok(DriverFiles {
            version: self.version()?,
            multiarch: multiarch().to_owned(),
            libraries: self.libraries()?,
            binaries: self.binaries(),
        })
    }

    /// The driver's libraries, and nobody else's, sorted. Of a library that stands in several folders the first in
    /// search order is taken, as the loader would.
    pub fn libraries(&self) -> Result<Vec<DriverLibrary>, FilesError> {
        let version = self.version()?;
        let mut found = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for folder in LIBRARY_FOLDERS {
            for subfolder in names::SUBFOLDERS {
                let Ok(folder) = self.0.resolve(Path::new(folder).join(subfolder)) else { continue };
                // `/lib` is often a link to `/usr/lib`.
                if seen.insert((folder.clone(), subfolder)) {
                    self.collect(&folder, subfolder, &version, &mut found)?;
                }
            }
        }
        Ok(found.into_values().collect())
    }

    /// The driver's programs that a container may use, sorted.
    pub fn binaries(&self) -> Vec<DriverBinary> {
        let mut found: Vec<_> = names::BINARIES.iter().filter_map(|name| self.binary(name)).collect();
        found.sort();
        found
    }

    fn binary(&self, name: &str) -> Option<DriverBinary> {
        BINARY_FOLDERS.iter().find_map(|folder| {
            let inside = self.0.resolve(Path::new(folder).join(name)).ok()?;
            let local = self.0.local_path(&inside);
            let host = self.0.host_path(&inside)?;
            local.as_path().is_file().then(|| DriverBinary { name: name.to_owned(), host, local })
        })
    }

    fn nvml_inside(&self) -> Result<PathBuf, NoDriver> {
        let candidates = LIBRARY_FOLDERS.map(|folder| Path::new(folder).join(NVML));
        let usable = |path: &PathBuf| self.0.local_path(path).as_path().is_file();
        let found = candidates.iter().find_map(|path| self.0.resolve(path).ok().filter(usable));
        found.ok_or_else(|| NoDriver {
            searched: candidates.iter().map(|path| self.0.local_path(path)).collect(),
        })
    }

    /// Adds the driver's libraries in one folder to `found`, by the name of the file in its subfolder.
    fn collect(
        &self,
        folder: &Path,
        subfolder: &str,
        version: &str,
        found: &mut BTreeMap<(String, String), DriverLibrary>,
    ) -> Result<(), ListError> {
        // The file behind each name of this folder; a broken or foreign link has none.
        let mut files: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
        for name in self.list(folder)? {
            if !names::is_driver_library(&name) {
                continue;
            }
            if let Ok(file) = self.0.resolve(folder.join(&name)) {
                files.entry(file).or_default().insert(name);
            }
        }
        for (inside, names) in files {
            let Some(file_name) = inside.file_name().and_then(|name| name.to_str()).map(str::to_owned) else {
                continue;
            };
            let local = self.0.local_path(&inside);
            let Some(host) = self.0.host_path(&inside) else { continue };
            if !names::belongs_to(&file_name, version) || !local.as_path().is_file() {
                continue;
            }
            let mut names: BTreeSet<_> =
                names.into_iter().filter(|name| names::is_asked_for(name, version)).collect();
            names.insert(file_name.clone());
            names.extend(names::unversioned(&file_name));
            let library = DriverLibrary { subfolder: subfolder.to_owned(), file_name, names, host, local };
            found.entry((library.subfolder.clone(), library.file_name.clone())).or_insert(library);
        }
        Ok(())
    }

    fn list(&self, folder: &Path) -> Result<Vec<String>, ListError> {
        let folder = self.0.local_path(folder);
        let fail = |source| ListError { folder: folder.clone(), source };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(fail)? {
            names.extend(entry.map_err(fail)?.file_name().into_string());
        }
        Ok(names)
    }
}

/// The files of a driver could not be told.
#[derive(Debug, Error)]
pub enum FilesError {
    /// There is no driver.
    #[error(transparent)]
    NoDriver(#[from] NoDriver),
    /// A folder could not be listed.
    #[error(transparent)]
    List(#[from] ListError),
}

/// Debian's name of this machine's architecture, as in `/usr/lib/x86_64-linux-gnu`.
pub fn multiarch() -> &'static str {
    if cfg!(target_arch = "aarch64") { "aarch64-linux-gnu" } else { "x86_64-linux-gnu" }
}

/// What follows `.so.` in a library's file name.
fn version_of(library: &Path) -> String {
    let name = library.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.split_once(".so.").map(|(_, version)| version.to_owned()).unwrap_or_default()
}

fn list(paths: &[LocalPath]) -> String {
    let mut text = String::new();
    for (at, path) in paths.iter().enumerate() {
        let _ = write!(text, "{}{path}", if at == 0 { "" } else { ", " });
    }
    text
}
