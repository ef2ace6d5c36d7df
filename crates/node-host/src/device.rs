//! Device nodes of the driver, as the file system shows them. It opens none.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use thiserror::Error;

use crate::driver_root::DriverRoot;
use crate::path::{HostPath, LocalPath};
use crate::root::{HostRoot, Root};

/// Nodes that every GPU container needs, in `/dev`; `nvidia-modeset` exists only where its module is loaded.
pub const CONTROL_NODES: [&str; 4] = ["nvidiactl", "nvidia-modeset", "nvidia-uvm", "nvidia-uvm-tools"];

/// One node below the `/dev` of a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceNode {
    /// File name in `/dev`, such as `nvidia0`.
    pub name: String,
    /// Where the host has it. A container has it as `/dev/<name>`.
    pub path: HostPath,
    /// What stands there.
    pub kind: NodeKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What stands at the path of a device node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// A character device.
    Character {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// Something that no container could use as a GPU: a plain file of an unprivileged simulation, a block
    /// device.
    Other,
}

/// A node that is there and cannot be looked at, or whose path the host cannot be told.
#[derive(Debug, Error)]
#[error("cannot look at the device node {path}")]
pub struct DeviceError {
    path: LocalPath,
    #[source]
    source: io::Error,
}

impl DeviceNode {
    /// Where a container has it.
    pub fn container_path(&self) -> String {
        format!("/dev/{}", self.name)
    }

    /// The minor number in the name of a GPU's node: 7 for `nvidia7`, nothing for control nodes.
    pub fn gpu_minor(&self) -> Option<u32> {
        self.name.strip_prefix("nvidia")?.parse().ok()
    }
}

/// The root whose `/dev` holds the driver's nodes: the driver root where that has `dev/nvidiactl`, else the
/// host's. A driver container brings its own; a driver on the host, or a bare library folder, does not.
pub fn root_of(driver: &DriverRoot, host: &HostRoot) -> Root {
    if driver.root().resolve("dev/nvidiactl").is_ok() {
        driver.root().clone()
    } else {
        host.as_root().clone()
    }
}

/// The node `name` below the `/dev` of `root`, or nothing if it does not exist.
pub fn node(root: &Root, name: &str) -> Result<Option<DeviceNode>, DeviceError> {
    let inside = Path::new("dev").join(name);
    let fail = |source| DeviceError { path: root.local_path(&inside), source };
    let resolved = match root.resolve(&inside) {
        Ok(resolved) => resolved,
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => return Err(fail(io::Error::other(error))),
    };
    let found = root.local_path(&resolved).as_path().symlink_metadata().map_err(fail)?;
    let path = root.host_path(&resolved).ok_or_else(|| fail(io::ErrorKind::InvalidFilename.into()))?;
    Ok(Some(DeviceNode {
        name: name.to_owned(),
        path,
        kind: kind(&found),
        mode: found.mode() & 0o777,
        uid: found.uid(),
        gid: found.gid(),
    }))
}

/// The control nodes that exist, and the nodes of all GPUs, sorted by name with GPUs in the order of their
/// numbers.
pub fn nodes(root: &Root) -> Result<Vec<DeviceNode>, DeviceError> {
    let dev = root.local_path(Path::new("dev"));
    let mut found = Vec::new();
    for name in CONTROL_NODES {
        found.extend(node(root, name)?);
    }
    let entries = match std::fs::read_dir(&dev) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(source) => return Err(DeviceError { path: dev, source }),
    };
    for entry in entries {
        let entry = entry.map_err(|source| DeviceError { path: dev.clone(), source })?;
        if let Some(name) = entry.file_name().to_str().filter(|name| is_gpu_node(name)) {
            found.extend(node(root, name)?);
        }
    }
    found.sort_by(|a, b| (a.gpu_minor(), &a.name).cmp(&(b.gpu_minor(), &b.name)));
    Ok(found)
}

fn is_gpu_node(name: &str) -> bool {
    let digits = name.strip_prefix("nvidia").unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// What `found` is.
pub(crate) fn kind(found: &Metadata) -> NodeKind {
    if found.file_type().is_char_device() {
        NodeKind::Character { major: rustix::fs::major(found.rdev()), minor: rustix::fs::minor(found.rdev()) }
    } else {
        NodeKind::Other
    }
}

/// What stands at a path of the host, links resolved below its root. `None` if nothing does.
pub fn kind_at(host: &HostRoot, path: &HostPath) -> Result<Option<NodeKind>, DeviceError> {
    let fail = |source| DeviceError { path: host.local(path), source };
    match host.as_root().resolve(path.as_str()) {
        Ok(resolved) => {
            let found = host.as_root().local_path(&resolved).as_path().symlink_metadata().map_err(fail)?;
            Ok(Some(kind(&found)))
        }
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(fail(io::Error::other(error))),
    }
}
