//! What the kernel tells in small files: the boot id, and PCI devices' NUMA nodes. And how such files are read.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use gpu_model::PciAddress;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::path::LocalPath;
use crate::root::HostRoot;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The kernel's random id of one boot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(String);

/// A kernel file that could not be read, or does not hold what it should.
#[derive(Debug, Error)]
pub enum ReadError {
    /// It could not be read.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: LocalPath,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It holds something unexpected.
    #[error("{path} holds {value:?}: expected {expected}")]
    Content {
        /// The file.
        path: LocalPath,
        /// What it holds.
        value: String,
        /// What it should hold.
        expected: &'static str,
    },
}

impl BootId {
    /// The id as the kernel prints it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of this boot: the host root's, and where that has no `/proc`, this process' own. No namespace
/// changes it, so the two agree on one machine; a simulated host root may have its own.
pub fn boot_id(host: &HostRoot) -> Result<BootId, ReadError> {
    let path = proc_path(host, BOOT_ID)?;
    let text = read(&path)?;
    let plausible = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if plausible {
        Ok(BootId(text))
    } else {
        Err(ReadError::Content { path, value: text, expected: "a UUID" })
    }
}

/// Where this process has a file of `/proc` that is the whole machine's: the host root's, and where that has none, this
/// process' own.
pub(crate) fn proc_path(host: &HostRoot, path: &str) -> Result<LocalPath, ReadError> {
    let inside = host.as_root().local_path(Path::new(path));
    let is_there = inside.as_path().try_exists();
    let is_there = is_there.map_err(|source| ReadError::Io { path: inside.clone(), source })?;
    Ok(if is_there { inside } else { LocalPath::new(path) })
}

/// The text of a file of `/proc` that is the whole machine's; nothing if there is none.
pub(crate) fn read_proc(host: &HostRoot, path: &str) -> Result<Option<String>, ReadError> {
    match read(&proc_path(host, path)?) {
        Err(ReadError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        text => text.map(Some),
    }
}

/// The release of the kernel that runs, as in the names of its folders.
pub(crate) fn release() -> Result<String, ReadError> {
    read(&LocalPath::new("/proc/sys/kernel/osrelease"))
}

/// The NUMA node of a PCI device. `None` if the kernel has no such device or knows no node for it (it
/// then says -1).
pub fn numa_node(host: &HostRoot, device: PciAddress) -> Result<Option<u32>, ReadError> {
    let inside = format!("/sys/bus/pci/devices/{device}/numa_node");
    let path = match host.as_root().resolve(&inside) {
        Ok(resolved) => host.as_root().local_path(&resolved),
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => {
            let path = host.as_root().local_path(Path::new(&inside));
            return Err(ReadError::Io { path, source: io::Error::other(error) });
        }
    };
    let value = read(&path)?;
    match value.parse::<i64>() {
        Ok(-1) => Ok(None),
        Ok(node) if u32::try_from(node).is_ok() => Ok(u32::try_from(node).ok()),
        _ => Err(ReadError::Content { path, value, expected: "a node number, or -1" }),
    }
}

/// The first bytes of a file, at most so many. What is no file, such as a pipe that nobody writes, is not waited for.
pub(crate) fn read_bytes(path: &LocalPath, at_most: usize) -> Result<Vec<u8>, ReadError> {
    let read = || {
        let options = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::from(rustix::fs::open(path.as_path(), options, Mode::empty())?);
        let mut bytes = Vec::new();
        file.take(at_most as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|source| ReadError::Io { path: path.clone(), source })
}

fn read(path: &LocalPath) -> Result<String, ReadError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| ReadError::Io { path: path.clone(), source })?;
    Ok(text.trim().to_owned())
}
