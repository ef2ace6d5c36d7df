//! Where the built library is, and how a program is started so that it sees the simulated node. It knows file
//! names and environment variables, not what is in the library.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use thiserror::Error;

use crate::root::LIBRARY_DIR;
use crate::state::{StateFolder, StateFolderError};
use crate::trim::{self, Branch, TrimError};

/// The name by which programs load NVML.
pub const SONAME: &str = "libnvidia-ml.so.1";
/// The name that cargo gives the library.
const BUILT: &str = "libnvml_sim_abi.so";

/// Why the library could not be used.
#[derive(Debug, Error)]
pub enum InstallError {
    /// Not found.
    #[error(
        "the simulated NVML library is not there: looked for {}; \
         build it with `cargo build -p nvml-sim-abi`, or name it with --library",
        looked_for.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    NotFound {
        /// The paths tried.
        looked_for: Vec<PathBuf>,
    },
    /// Not where it was said to be.
    #[error("{} is no file; --library names the simulated NVML library, as cargo builds it", path.display())]
    NotThere {
        /// What was said.
        path: PathBuf,
    },
    /// A host root without it.
    #[error(
        "{} holds no simulated driver: it has no {LIBRARY_DIR}/{SONAME}; `nvml-sim root {}` lays one",
        root.display(),
        root.display()
    )]
    NotInRoot {
        /// The root.
        root: PathBuf,
    },
    /// The state folder could not be used.
    #[error(transparent)]
    Folder(#[from] StateFolderError),
    /// A library from which no function can be taken.
    #[error("{} cannot be made that of an older driver", path.display())]
    NoSymbols {
        /// The library.
        path: PathBuf,
        /// Why not.
        source: TrimError,
    },
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

/// The built library: as named, else near this program (installed, built by cargo, or a test of cargo's).
pub fn find_library(named: Option<&Path>) -> Result<PathBuf, InstallError> {
    let is_file = |path: &Path| path.canonicalize().ok().filter(|path| path.is_file());
    if let Some(path) = named {
        return is_file(path).ok_or_else(|| InstallError::NotThere { path: path.to_owned() });
    }
    let candidates: Vec<PathBuf> = {
        let program = env::current_exe().unwrap_or_default();
        let dir = program.parent().unwrap_or(Path::new("/"));
        let near = [
            SONAME,
            "../lib/nvml-sim/libnvidia-ml.so.1",
            BUILT,
            "../libnvml_sim_abi.so",
            "deps/libnvml_sim_abi.so",
        ];
        near.iter().map(|name| dir.join(name)).collect()
    };
    let found = candidates.iter().find_map(|path| is_file(path));
    found.ok_or(InstallError::NotFound { looked_for: candidates })
}

/// A command that sees the node: `NVML_SIM_DIR`, `LD_LIBRARY_PATH` and Gantry's own variables. With a host root
/// the driver is that root's, else a folder in the state folder that holds the library alone.
pub fn command(
    folder: &StateFolder,
    root: Option<&Path>,
    library: Option<&Path>,
    program: &OsString,
) -> Result<Command, InstallError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| InstallError::Io { action, path, source }
    };
    let dir = folder.dir().canonicalize().map_err(failed("open", folder.dir()))?;
    let libraries = match root {
        Some(root) => libraries_of(root)?,
        None => {
            let library = find_library(library)?;
            let own = library.parent().filter(|own| own.starts_with(&dir) && library.ends_with(SONAME));
            match own {
                // One that `of_branch` made: it lies alone there, under its name.
                Some(own) => own.to_owned(),
                None => link_library(folder, &dir.join("lib"), &library)?,
            }
        }
    };
    let mut search = OsString::from(&libraries);
    if let Some(before) = env::var_os("LD_LIBRARY_PATH").filter(|before| !before.is_empty()) {
        search.push(":");
        search.push(before);
    }
    let mut command = Command::new(program);
    command.env("NVML_SIM_DIR", dir).env("LD_LIBRARY_PATH", search);
    command.env("GANTRY_NVML_LIBRARY", libraries.join(SONAME));
    if let Some(root) = root {
        let root = root.canonicalize().map_err(failed("open", root))?;
        command.env("GANTRY_HOST_ROOT", &root).env("GANTRY_DRIVER_ROOT", &root);
    }
    Ok(command)
}

/// A command for where a host root covers the machine's own paths, so that no path has to be told.
pub fn private_command(
    folder: &StateFolder,
    root: &Path,
    program: &OsString,
) -> Result<Command, InstallError> {
    libraries_of(root)?;
    let dir = folder.dir();
    let failed = |source| InstallError::Io { action: "open", path: dir.to_owned(), source };
    let mut command = Command::new(program);
    command.env("NVML_SIM_DIR", dir.canonicalize().map_err(failed)?);
    Ok(command)
}

/// The library as a driver of that branch has it, in a folder of its own in the state folder.
pub fn of_branch(
    folder: &StateFolder,
    library: Option<&Path>,
    branch: Branch,
) -> Result<PathBuf, InstallError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| InstallError::Io { action, path, source }
    };
    let library = find_library(library)?;
    let whole = fs::read(&library).map_err(failed("read", &library))?;
    let trimmed = trim::without(&whole, &branch.lacks());
    let trimmed = trimmed.map_err(|source| InstallError::NoSymbols { path: library, source })?;
    let dir = folder.dir().join(format!("lib-{branch}"));
    fs::create_dir_all(&dir).map_err(failed("create", &dir))?;
    let (path, next) = (dir.join(SONAME), dir.join(format!("{SONAME}.next")));
    // Renamed into place: a program that runs keeps the one that it has.
    let _lock = folder.lock()?;
    fs::write(&next, trimmed).map_err(failed("write", &next))?;
    fs::rename(&next, &path).map_err(failed("write", &path))?;
    Ok(path)
}

/// The folder of a host root that holds the library.
fn libraries_of(root: &Path) -> Result<PathBuf, InstallError> {
    let libraries = root.canonicalize().map(|root| root.join(LIBRARY_DIR)).ok();
    let found = libraries.filter(|libraries| libraries.join(SONAME).is_file());
    found.ok_or_else(|| InstallError::NotInRoot { root: root.to_owned() })
}

/// A folder with a link to the library under its soname, made or refreshed.
fn link_library(folder: &StateFolder, dir: &Path, library: &Path) -> Result<PathBuf, InstallError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| InstallError::Io { action, path, source }
    };
    let link = dir.join(SONAME);
    if fs::read_link(&link).is_ok_and(|target| target == library) {
        return Ok(dir.to_owned());
    }
    fs::create_dir_all(dir).map_err(failed("create", dir))?;
    // Renamed into place, so that programs find a whole link at each moment; under the lock, so that a link that a killed
    // command left is nobody's.
    let _lock = folder.lock()?;
    let next = dir.join(format!("{SONAME}.next"));
    let _ = fs::remove_file(&next);
    symlink(library, &next).map_err(failed("link", &next))?;
    fs::rename(&next, &link).map_err(failed("link", &link))?;
    Ok(dir.to_owned())
}
