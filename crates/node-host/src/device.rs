//! Device nodes of the driver, as the file system shows them. It opens none.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use crate::capability;
use crate::driver_root::DriverRoot;
use crate::path::{HostPath, LocalPath};
use crate::root::{HostRoot, Root};

/// Nodes that every GPU container needs, in `/dev`; `nvidia-modeset` exists only where its module is loaded.
pub const CONTROL_NODES: [&str; 4] = ["nvidiactl", "nvidia-modeset", "nvidia-uvm", "nvidia-uvm-tools"];

/// One node below the `/dev` of a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceNode {
    /// Name below `/dev`, such as `nvidia0` or `nvidia-caps/nvidia-cap12`.
    pub name: String,
    /// Where the host has it. A container has it as `/dev/<name>`.
    pub path: HostPath,
    /// What stands there.
    pub kind: NodeKind,
    /// Permission bits.
    pub mode: u32,
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
    /// A block device.
    Block {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Pipe,
    /// No device at all, such as a plain file.
    Other,
}

/// The nodes of a root's `/dev`, as far as containers can use them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nodes {
    /// Nodes to hand out: control nodes by name, then GPUs by number.
    pub usable: Vec<DeviceNode>,
    /// Nodes of MIG capabilities to hand out, by number.
    pub capabilities: Vec<DeviceNode>,
    /// Nodes that are there and not to be handed out: names in `/dev`, each with the reason in words. They take
    /// nothing from the others.
    pub unusable: BTreeMap<String, String>,
}

/// What to make of a node that is no character device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonDevices {
    /// It is unusable, as on every real node: no runtime could hand it out.
    Refused,
    /// It stands for a device: the simulated driver makes plain files where it may not make nodes.
    Simulated,
}

/// A node that is there and cannot be looked at, or whose path the host cannot be told.
#[derive(Debug, thiserror::Error)]
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
        gpu_minor(&self.name)
    }

    /// The number of the MIG capability whose node it is.
    pub fn capability(&self) -> Option<u32> {
        capability::number(&self.name)
    }
}

/// As [`DeviceNode::gpu_minor`], for a name alone.
pub fn gpu_minor(name: &str) -> Option<u32> {
    let digits = name.strip_prefix("nvidia")?;
    // `parse` alone would take a sign, and several spellings of one number.
    let minor: u32 = digits.parse().ok()?;
    (minor.to_string() == digits).then_some(minor)
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
        gid: found.gid(),
    }))
}

/// The control nodes that exist, and the nodes of all GPUs and MIG capabilities. A node that is odd is told apart and
/// hides no other; only a `/dev` that cannot be listed is an error.
///
/// The kernel gives nodes of capabilities another major number with each load of the driver: where it is known
/// ([`capability::major`]), a node that was left from before is odd.
pub fn nodes(
    root: &Root,
    non_devices: NonDevices,
    capability_major: Option<u32>,
) -> Result<Nodes, DeviceError> {
    let mut names: Vec<String> = CONTROL_NODES.map(str::to_owned).to_vec();
    names.extend(names_in(root, "dev")?.into_iter().filter(|name| gpu_minor(name).is_some()));
    names.sort_by(|a, b| (gpu_minor(a), a).cmp(&(gpu_minor(b), b)));
    let below = |name: String| format!("{}/{name}", capability::FOLDER);
    let mut nodes = Nodes::default();
    let capabilities = names_in(root, &format!("dev/{}", capability::FOLDER)).unwrap_or_else(|error| {
        nodes.unusable.insert(capability::FOLDER.to_owned(), in_words(&error));
        Vec::new()
    });
    let capabilities = capabilities.into_iter().map(below);
    let mut capabilities: Vec<String> =
        capabilities.filter(|name| capability::number(name).is_some()).collect();
    capabilities.sort_by_key(|name| capability::number(name));

    for name in names.into_iter().chain(capabilities) {
        let number = capability::number(&name);
        match looked_at(root, &name, non_devices) {
            Ok(None) => {}
            Ok(Some(node)) => match (number, node.kind, capability_major) {
                (Some(number), NodeKind::Character { major, minor }, Some(expected))
                    if (major, minor) != (expected, number) =>
                {
                    let why = format!("{} is device {major}:{minor}, not {expected}:{number}", node.path);
                    nodes.unusable.insert(name, why);
                }
                (Some(_), ..) => nodes.capabilities.push(node),
                (None, ..) => nodes.usable.push(node),
            },
            Err(why) => {
                nodes.unusable.insert(name, why);
            }
        }
    }
    Ok(nodes)
}

/// The node `name`, or nothing if it does not exist; or why it cannot be handed out, in words.
fn looked_at(root: &Root, name: &str, non_devices: NonDevices) -> Result<Option<DeviceNode>, String> {
    match node(root, name) {
        Ok(Some(node)) if !is_usable(node.kind, non_devices) => {
            let path = root.local_path(&Path::new("dev").join(name));
            Err(format!("{path} is no character device"))
        }
        Ok(node) => Ok(node),
        Err(error) => Err(in_words(&error)),
    }
}

/// The nodes of a folder below the `/dev` of a root that are wanted by their file names and can be used, sorted.
pub(crate) fn in_folder(
    root: &Root,
    folder: &str,
    is_wanted: &dyn Fn(&str) -> bool,
    non_devices: NonDevices,
) -> Result<Vec<DeviceNode>, DeviceError> {
    let mut names = names_in(root, &format!("dev/{folder}"))?;
    names.retain(|name| is_wanted(name));
    // By number, as far as the stems are the same.
    names.sort_by_key(|name| {
        (name.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned(), name.len(), name.clone())
    });
    let in_dev = |name: &String| if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
    Ok(names.iter().filter_map(|name| looked_at(root, &in_dev(name), non_devices).ok().flatten()).collect())
}

/// The names in a folder of a root; none where there is no folder.
pub(crate) fn names_in(root: &Root, folder: &str) -> Result<Vec<String>, DeviceError> {
    let mut names = Vec::new();
    let folder = Path::new(folder);
    let resolved = match root.resolve(folder) {
        Ok(resolved) => root.local_path(&resolved),
        Err(error) if error.is_missing() => return Ok(names),
        Err(error) => {
            return Err(DeviceError { path: root.local_path(folder), source: io::Error::other(error) });
        }
    };
    let fail = |source| DeviceError { path: resolved.clone(), source };
    let entries = match std::fs::read_dir(&resolved) {
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(names),
        entries => entries.map_err(fail)?,
    };
    for entry in entries {
        names.extend(entry.map_err(fail)?.file_name().into_string());
    }
    Ok(names)
}

/// The error and what caused it, since a listing is a value and keeps no errors.
fn in_words(error: &DeviceError) -> String {
    let mut words = error.to_string();
    let mut next = Error::source(error);
    while let Some(cause) = next {
        words += &format!(": {cause}");
        next = cause.source();
    }
    words
}

fn is_usable(kind: NodeKind, non_devices: NonDevices) -> bool {
    match kind {
        NodeKind::Character { .. } => true,
        NodeKind::Other => non_devices == NonDevices::Simulated,
        NodeKind::Block { .. } | NodeKind::Pipe => false,
    }
}

/// What `found` is.
fn kind(found: &Metadata) -> NodeKind {
    let (major, minor) = (rustix::fs::major(found.rdev()), rustix::fs::minor(found.rdev()));
    match found.file_type() {
        is if is.is_char_device() => NodeKind::Character { major, minor },
        is if is.is_block_device() => NodeKind::Block { major, minor },
        is if is.is_fifo() => NodeKind::Pipe,
        _ => NodeKind::Other,
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
