//! What the machine says of itself beside its GPUs: its product name, and which kernel module drives the GPUs.

use std::io;
use std::path::Path;

use crate::kernel::{ReadError, proc_path, read_bytes};
use crate::path::LocalPath;
use crate::root::HostRoot;

const PRODUCT: &str = "/sys/class/dmi/id/product_name";
const DRIVER: &str = "/proc/driver/nvidia/version";

/// Longest file that is taken for a name or a version: a page, which is the most that a file of sysfs has.
const LONGEST: usize = 4096;

/// Which of NVIDIA's kernel modules is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverFlavour {
    /// The one whose source is open, which GPUs from Turing on can have and from Blackwell on must have.
    Open,
    /// The proprietary one.
    Proprietary,
}

/// The product name of the machine, as DMI gives it or, where one is named, as this file does; nothing where there is no
/// such file or no name in it. Bytes that are no UTF-8 are replaced; nothing else of it is changed, so it may hold anything.
///
/// # Errors
/// When there is a file that cannot be read.
pub fn machine_product(host: &HostRoot, file: Option<&LocalPath>) -> Result<Option<String>, ReadError> {
    let path = match file {
        Some(file) => file.clone(),
        None => in_sysfs(host, PRODUCT),
    };
    Ok(text(&path)?.filter(|name| !name.is_empty()))
}

/// Which kernel module drives the GPUs; nothing while none is loaded.
///
/// # Errors
/// When the driver's file cannot be read, or is not a driver's.
pub fn driver_flavour(host: &HostRoot) -> Result<Option<DriverFlavour>, ReadError> {
    let path = proc_path(host, DRIVER)?;
    let Some(text) = text(&path)? else { return Ok(None) };
    let line = text.lines().next().unwrap_or_default();
    // "NVIDIA UNIX Open Kernel Module for x86_64  580.95.05" or "NVIDIA UNIX x86_64 Kernel Module  580.95.05".
    if line.contains("Open Kernel Module") {
        Ok(Some(DriverFlavour::Open))
    } else if line.contains("Kernel Module") {
        Ok(Some(DriverFlavour::Proprietary))
    } else {
        let value = line.to_owned();
        Err(ReadError::Content { path, value, expected: "the version of NVIDIA's kernel module" })
    }
}

/// A file of sysfs, whose folder may be a link.
fn in_sysfs(host: &HostRoot, path: &str) -> LocalPath {
    let root = host.as_root();
    let inside = root.resolve_existing(path).unwrap_or_else(|_| Path::new(path).to_owned());
    root.local_path(&inside)
}

/// The text of a small file, trimmed; nothing if there is none.
fn text(path: &LocalPath) -> Result<Option<String>, ReadError> {
    match read_bytes(path, LONGEST) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned())),
        Err(ReadError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
