//! The spec of a node's whole GPUs, from what was found on it. Pure: the same findings give the same spec.

use std::collections::{BTreeMap, BTreeSet};

use gpu_model::{GpuUuid, Inventory, names};
use node_host::device::{self, DeviceNode as HostNode, NodeKind, Nodes};
use node_host::{DriverFiles, DriverLibrary, HostPath};
use thiserror::Error;

use crate::spec::{ContainerEdits, Device, DeviceNode, Kind, Mount, Spec};
use crate::version::Version;

/// Name of the device that stands for all GPUs of the node.
pub const ALL: &str = "all";

/// A driver's files are read-only in a container and lend it no rights. `rbind` and `rprivate` are what other
/// tools of the field write for single files too.
const MOUNT_OPTIONS: [&str; 5] = ["ro", "nosuid", "nodev", "rbind", "rprivate"];

/// A GPU device is read and written; no container needs to make device nodes.
const NODE_PERMISSIONS: &str = "rw";

/// A spec, and the GPUs that it could not take in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuSpec {
    /// The spec.
    pub spec: Spec,
    /// GPUs without a usable device node, each with what is missing.
    pub left_out: BTreeMap<GpuUuid, String>,
}

/// There is nothing to make a spec of.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BuildError {
    /// No GPU of the inventory has a usable device node.
    #[error("no GPU has a usable device node: {}", if left_out.is_empty() { "the inventory is empty".to_owned() } else { left_out.join("; ") })]
    NoGpu {
        /// What each GPU lacks.
        left_out: Vec<String>,
    },
    /// The name of our kind broke.
    #[error(transparent)]
    Kind(#[from] crate::spec::ParseKindError),
}

/// The spec of whole GPUs: one device per GPU, named by its UUID, and `all`; control nodes, driver
/// libraries and programs come with any of them.
///
/// `nodes` are the driver's device nodes, from `node_host::device::nodes`. Each library is mounted under
/// every name that programs ask for, in both folders that a container's loader may search by default.
pub fn full_gpus(inventory: &Inventory, driver: &DriverFiles, nodes: &Nodes) -> Result<GpuSpec, BuildError> {
    let by_minor: BTreeMap<u32, &HostNode> =
        nodes.usable.iter().filter_map(|node| Some((node.gpu_minor()?, node))).collect();
    let unusable: BTreeMap<u32, &String> =
        nodes.unusable.iter().filter_map(|(name, why)| Some((device::gpu_minor(name)?, why))).collect();
    let mut gpus: BTreeMap<&GpuUuid, DeviceNode> = BTreeMap::new();
    let mut left_out = BTreeMap::new();
    for gpu in &inventory.gpus {
        match gpu.minor.value().map(|minor| (minor, by_minor.get(minor))) {
            Some((_, Some(node))) => {
                gpus.insert(&gpu.uuid, device_node(node));
            }
            Some((minor, None)) => {
                let why = match unusable.get(minor) {
                    Some(why) => why.to_string(),
                    None => format!("/dev/nvidia{minor} does not exist"),
                };
                left_out.insert(gpu.uuid.clone(), why);
            }
            None => {
                left_out.insert(gpu.uuid.clone(), "the driver does not tell its minor number".to_owned());
            }
        }
    }
    if gpus.is_empty() {
        let left_out = left_out.iter().map(|(gpu, why)| format!("{gpu}: {why}")).collect();
        return Err(BuildError::NoGpu { left_out });
    }

    let mut everything: Vec<DeviceNode> = gpus.values().cloned().collect();
    everything.sort_by_key(|node| (node.minor, node.path.clone()));
    let mut devices: Vec<Device> =
        gpus.into_iter().map(|(uuid, node)| device(uuid.as_str(), vec![node])).collect();
    devices.push(device(ALL, everything));

    let mut spec = Spec {
        cdi_version: Version::V0_3_0,
        kind: names::CDI_KIND_GPU.parse::<Kind>()?,
        annotations: BTreeMap::new(),
        devices,
        container_edits: common_edits(driver, &nodes.usable),
    };
    spec.cdi_version = spec.lowest_version();
    Ok(GpuSpec { spec, left_out })
}

fn device(name: &str, nodes: Vec<DeviceNode>) -> Device {
    let container_edits = ContainerEdits { device_nodes: nodes, ..ContainerEdits::default() };
    Device { name: name.to_owned(), annotations: BTreeMap::new(), container_edits }
}

fn common_edits(driver: &DriverFiles, nodes: &[HostNode]) -> ContainerEdits {
    let control = nodes.iter().filter(|node| node.gpu_minor().is_none());
    let mut device_nodes: Vec<DeviceNode> = control.map(device_node).collect();
    device_nodes.sort_by(|a, b| a.path.cmp(&b.path));

    let mut mounts: BTreeMap<String, HostPath> = BTreeMap::new();
    for library in &driver.libraries {
        for folder in [format!("/usr/lib/{}", driver.multiarch), "/usr/lib64".to_owned()] {
            mounts.extend(library_mounts(&folder, library));
        }
    }
    mounts.extend(
        driver.binaries.iter().map(|binary| (format!("/usr/bin/{}", binary.name), binary.host.clone())),
    );

    // Groups that a process must be in to use a node which is not open to everyone.
    let closed = nodes.iter().filter(|node| node.mode & 0o006 != 0o006 && node.gid != 0);
    let groups: BTreeSet<u32> = closed.map(|node| node.gid).collect();

    ContainerEdits {
        env: vec![format!("{}=void", names::ENV_VISIBLE_DEVICES)],
        device_nodes,
        mounts: mounts
            .into_iter()
            .map(|(container_path, host_path)| mount(container_path, host_path))
            .collect(),
        additional_gids: groups.into_iter().collect(),
        ..ContainerEdits::default()
    }
}

fn library_mounts(folder: &str, library: &DriverLibrary) -> impl Iterator<Item = (String, HostPath)> {
    let folder = if library.subfolder.is_empty() {
        folder.to_owned()
    } else {
        format!("{folder}/{}", library.subfolder)
    };
    library.names.iter().map(move |name| (format!("{folder}/{name}"), library.host.clone()))
}

fn mount(container_path: String, host_path: HostPath) -> Mount {
    let options = MOUNT_OPTIONS.map(str::to_owned).to_vec();
    Mount { host_path, container_path, options, fs_type: String::new() }
}

/// A node as a container gets it: the numbers are stated, so that a stale spec is caught by a check and never
/// opens another device.
fn device_node(node: &HostNode) -> DeviceNode {
    let path = node.container_path();
    let (major, minor) = match node.kind {
        NodeKind::Character { major, minor } => (Some(i64::from(major)), Some(i64::from(minor))),
        NodeKind::Block { .. } | NodeKind::Pipe | NodeKind::Other => (None, None),
    };
    DeviceNode {
        host_path: (node.path.as_str() != path).then(|| node.path.clone()),
        path,
        node_type: "c".to_owned(),
        major,
        minor,
        file_mode: Some(node.mode),
        permissions: NODE_PERMISSIONS.to_owned(),
        uid: None,
        gid: (node.gid != 0).then_some(node.gid),
    }
}
