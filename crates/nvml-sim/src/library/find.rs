//! Where the library finds its state folder, and how it says that it cannot use it. It knows environment, memory
//! map and standard error of its process.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Names the state folder.
const VARIABLE: &str = "NVML_SIM_DIR";
/// Beside the library: a link to the state folder, or a file with its path.
const LINK: &str = "node.link";

/// The state folder of the library in which `address` lies: as the environment says, else as the link beside it.
pub fn state_dir(address: usize) -> Option<PathBuf> {
    if let Some(dir) = std::env::var_os(VARIABLE).filter(|dir| !dir.is_empty()) {
        return Some(PathBuf::from(dir));
    }
    let library = mapped_file(address)?;
    let link = library.parent()?.join(LINK);
    if link.is_dir() {
        return Some(link);
    }
    let text = fs::read_to_string(&link).ok()?;
    Some(link.parent()?.join(Path::new(text.trim())))
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

/// Says on standard error why the simulation does not work: NVML's return codes cannot.
pub fn complain(error: &dyn Error) {
    let mut text = format!("nvml-sim (simulated libnvidia-ml): {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    let _ = writeln!(std::io::stderr(), "{text}");
}
