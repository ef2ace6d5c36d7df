//! Where the library finds its state folder. It knows environment and memory map of its process.

use std::path::{Path, PathBuf};
use std::{fs, io};

use thiserror::Error;

use crate::state::StateFolderError;

/// Names the state folder.
const VARIABLE: &str = "NVML_SIM_DIR";
/// Beside the library: a link to the state folder, or a file with its path.
const LINK: &str = "node.link";

/// Why there is no state folder to use.
#[derive(Debug, Error)]
pub enum FindError {
    /// Nothing names one.
    #[error("no node: {VARIABLE} is not set, and there is no {LINK} beside {}", library.display())]
    NotNamed {
        /// The library.
        library: PathBuf,
    },
    /// The link leads nowhere.
    #[error("no node: {} leads to none", link.display())]
    Dangling {
        /// The link.
        link: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What is named is no state folder.
    #[error(transparent)]
    Folder(#[from] StateFolderError),
}

/// The state folder of the library in which `address` lies: as the environment says, else as the link beside it.
pub fn state_dir(address: usize) -> Result<PathBuf, FindError> {
    if let Some(dir) = std::env::var_os(VARIABLE).filter(|dir| !dir.is_empty()) {
        return Ok(PathBuf::from(dir));
    }
    let Some(library) = mapped_file(address) else {
        return Err(FindError::NotNamed { library: PathBuf::from("the library") });
    };
    let link = library.with_file_name(LINK);
    if link.is_dir() {
        return Ok(link);
    }
    if link.symlink_metadata().is_err() {
        return Err(FindError::NotNamed { library });
    }
    match fs::read_to_string(&link) {
        Ok(text) => Ok(link.with_file_name(Path::new(text.trim()))),
        Err(source) => Err(FindError::Dangling { link, source }),
    }
}

/// The file that is mapped at an address of this process.
fn mapped_file(address: usize) -> Option<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines().find_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let start = usize::from_str_radix(start, 16).ok()?;
        let end = usize::from_str_radix(end, 16).ok()?;
        let path = rest.find('/').and_then(|at| rest.get(at..))?;
        (start..end).contains(&address).then(|| PathBuf::from(path))
    })
}
