//! The folder below which an NVIDIA driver is installed, and what of it a container needs.
//!
//! It goes by names and links alone and opens no library. The name under which the loader asks for a
//! library (its SONAME) is read from the `.so.N` links that lead to the file, which every driver package
//! installs with it; a file that no such link leads to bears its SONAME as its own name, as NVIDIA's
//! internal libraries do, or as each library does where every name of it is mounted into a container.

mod extras;
mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::kernel::ReadError;
use crate::path::{HostPath, LocalPath};
use crate::root::{HostRoot, ResolveError, Root};

pub use extras::{DriverFile, daemon_sockets};

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
#[error("no NVIDIA driver: {NVML} is in none of {}{}", list(searched), also(unreadable))]
pub struct NoDriver {
    /// Every path that was looked at, in order.
    pub searched: Vec<LocalPath>,
    /// What could not be looked at.
    pub unreadable: Vec<ResolveError>,
}

/// There is a driver, and its version cannot be told: without it no other library of it is known from a
/// stranger's.
#[derive(Debug, Error)]
#[error(
    "cannot tell the version of the NVIDIA driver: {library} does not bear it in its name, and {}",
    told(beside)
)]
pub struct NoVersion {
    /// The NVML library.
    pub library: LocalPath,
    /// Versions that files beside it bear, if more than one.
    pub beside: BTreeSet<String>,
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
    /// Firmware, configuration and X modules, sorted by where a container has them.
    pub extras: Vec<DriverFile>,
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

    /// As [`Root::remembering`].
    pub fn remembering(&self) -> DriverRoot {
        DriverRoot(self.0.remembering())
    }

    /// The folder itself.
    pub fn root(&self) -> &Root {
        &self.0
    }

    /// Where this process has the driver's NVML library, links resolved below this root.
    pub fn find_nvml(&self) -> Result<LocalPath, NoDriver> {
        self.nvml_inside().map(|inside| self.0.local_path(&inside))
    }

    /// Version of the installed driver, such as `580.95.05`: as its NVML library's file name gives it, else the
    /// name of a versioned file of NVML or `libcuda` beside it.
    pub fn version(&self) -> Result<String, FilesError> {
        let inside = self.nvml_inside()?;
        let own = inside.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(version) = names::driver_version(own, names::NVML_STEM) {
            return Ok(version.to_owned());
        }
        let listed = self.list(inside.parent().unwrap_or(Path::new("")))?;
        let beside = names::VERSION_TELLERS.iter().find_map(|stem| {
            let versions = listed.iter().filter_map(|name| names::driver_version(name, stem));
            let versions: BTreeSet<String> = versions.map(str::to_owned).collect();
            (!versions.is_empty()).then_some(versions)
        });
        let mut beside = beside.unwrap_or_default();
        match beside.pop_first() {
            Some(version) if beside.is_empty() => Ok(version),
            first => {
                beside.extend(first);
                Err(NoVersion { library: self.0.local_path(&inside), beside }.into())
            }
        }
    }

    /// Everything of the driver that a container needs.
    pub fn files(&self) -> Result<DriverFiles, FilesError> {
        let version = self.version()?;
        Ok(DriverFiles {
            multiarch: multiarch().to_owned(),
            libraries: self.libraries()?,
            binaries: self.binaries(),
            extras: self.extras(&version)?,
            version,
        })
    }

    /// The driver's libraries, and nobody else's, sorted. Of a file or a name that stands in several folders the
    /// first in search order is taken, as the loader would: no two libraries share a name.
    pub fn libraries(&self) -> Result<Vec<DriverLibrary>, FilesError> {
        let version = self.version()?;
        let mut found = Found::default();
        let mut seen = BTreeSet::new();
        for folder in LIBRARY_FOLDERS {
            for subfolder in names::SUBFOLDERS {
                let Some(folder) = self.resolve(&Path::new(folder).join(subfolder))? else { continue };
                // `/lib` is often a link to `/usr/lib`.
                if seen.insert((folder.clone(), subfolder)) {
                    self.collect(&folder, subfolder, &version, &mut found)?;
                }
            }
        }
        Ok(found.libraries.into_values().collect())
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
        let mut error = NoDriver { searched: Vec::new(), unreadable: Vec::new() };
        for folder in LIBRARY_FOLDERS {
            let path = Path::new(folder).join(NVML);
            match self.0.resolve(&path) {
                Ok(inside) if self.0.local_path(&inside).as_path().is_file() => return Ok(inside),
                Err(cause) if !cause.is_missing() => error.unreadable.push(cause),
                _ => {}
            }
            error.searched.push(self.0.local_path(&path));
        }
        Err(error)
    }

    /// As [`Root::resolve`]; nothing where nothing is, such as at the end of a broken link.
    fn resolve(&self, inside: &Path) -> Result<Option<PathBuf>, ResolveError> {
        match self.0.resolve(inside) {
            Ok(resolved) => Ok(Some(resolved)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Adds the driver's libraries in one folder to `found`.
    fn collect(
        &self,
        folder: &Path,
        subfolder: &str,
        version: &str,
        found: &mut Found,
    ) -> Result<(), FilesError> {
        // The file behind each name of this folder; a broken link has none.
        let mut files: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
        let listed: BTreeSet<String> =
            self.list(folder)?.into_iter().filter(|name| names::is_driver_library(name)).collect();
        for name in &listed {
            if let Some(file) = self.resolve(&folder.join(name))? {
                files.entry(file).or_default().insert(name.clone());
            }
        }
        for (inside, names) in files {
            let Some(file_name) = inside.file_name().and_then(|name| name.to_str()).map(str::to_owned) else {
                continue;
            };
            let local = self.0.local_path(&inside);
            let Some(host) = self.0.host_path(&inside) else { continue };
            if !names::belongs_to(&file_name, version, &listed) || !local.as_path().is_file() {
                continue;
            }
            let mut names: BTreeSet<_> =
                names.into_iter().filter(|name| names::is_asked_for(name, version)).collect();
            names.insert(file_name.clone());
            names.extend(names::also_asked_for(&file_name));
            found.add(DriverLibrary { subfolder: subfolder.to_owned(), file_name, names, host, local });
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

/// Libraries by the name of the file in its subfolder, and the names that are taken.
#[derive(Default)]
struct Found {
    libraries: BTreeMap<(String, String), DriverLibrary>,
    taken: BTreeSet<(String, String)>,
}

impl Found {
    /// Adds a library under those of its names that are still free, if any is.
    fn add(&mut self, mut library: DriverLibrary) {
        let in_folder = |name: &String| (library.subfolder.clone(), name.clone());
        let key = in_folder(&library.file_name);
        if self.libraries.contains_key(&key) {
            return;
        }
        let free: BTreeSet<_> =
            library.names.iter().filter(|name| !self.taken.contains(&in_folder(name))).cloned().collect();
        if free.is_empty() {
            return;
        }
        self.taken.extend(free.iter().map(in_folder));
        library.names = free;
        self.libraries.insert(key, library);
    }
}

/// The files of a driver could not be told.
#[derive(Debug, Error)]
pub enum FilesError {
    /// There is no driver.
    #[error(transparent)]
    NoDriver(#[from] NoDriver),
    /// Its version cannot be told.
    #[error(transparent)]
    NoVersion(#[from] NoVersion),
    /// A folder could not be listed.
    #[error(transparent)]
    List(#[from] ListError),
    /// A file or folder could not be looked at.
    #[error(transparent)]
    Unreadable(#[from] ResolveError),
    /// The kernel does not tell where it looks for firmware.
    #[error(transparent)]
    Kernel(#[from] ReadError),
}

/// Debian's name of this machine's architecture, as in `/usr/lib/x86_64-linux-gnu`.
pub fn multiarch() -> &'static str {
    if cfg!(target_arch = "aarch64") { "aarch64-linux-gnu" } else { "x86_64-linux-gnu" }
}

fn list(paths: &[LocalPath]) -> String {
    let mut text = String::new();
    for (at, path) in paths.iter().enumerate() {
        let _ = write!(text, "{}{path}", if at == 0 { "" } else { ", " });
    }
    text
}

fn also(unreadable: &[ResolveError]) -> String {
    unreadable.iter().fold(String::new(), |mut text, error| {
        let _ = write!(text, "; {error}");
        if let Some(cause) = std::error::Error::source(error) {
            let _ = write!(text, ": {cause}");
        }
        text
    })
}

fn told(beside: &BTreeSet<String>) -> String {
    if beside.is_empty() {
        let names = names::VERSION_TELLERS.map(|stem| format!("{stem}.so.VERSION"));
        return format!(
            "neither {} stands beside it: the driver's packages install them, link or mount them too",
            names.join(" nor ")
        );
    }
    let versions: Vec<&str> = beside.iter().map(String::as_str).collect();
    format!(
        "files of several versions stand beside it ({}): remove the leftovers of the older driver",
        versions.join(", ")
    )
}
