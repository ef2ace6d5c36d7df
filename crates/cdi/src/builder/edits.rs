//! What a container gets with any device: control nodes, the driver's files, sockets of its daemons. And the devices
//! beside GPUs.

use std::collections::{BTreeMap, BTreeSet};

use gpu_model::names;
use node_host::device::DeviceNode as HostNode;
use node_host::{Companions, DriverFile, DriverLibrary, HostPath};

use super::nodes::device_node;
use super::{GDRCOPY, GDS, Host, IMEX_CHANNEL, MOFED, hooks};
use crate::spec::{ContainerEdits, DeviceNode, Mount};

/// A driver's files are read-only in a container and lend it no rights. `rbind` and `rprivate` are what other
/// tools of the field write for single files too.
const MOUNT_OPTIONS: [&str; 5] = ["ro", "nosuid", "nodev", "rbind", "rprivate"];

/// A socket is written to, which a read-only mount does not forbid, and holds no program.
const SOCKET_OPTIONS: [&str; 5] = ["nosuid", "nodev", "noexec", "rbind", "rprivate"];

/// The library that GBM's loader opens for NVIDIA's displays, and the name by which it does.
const GBM: (&str, &str) = ("libnvidia-allocator.so.", "gbm/nvidia-drm_gbm.so");

pub(super) fn of_all(host: &Host) -> ContainerEdits {
    let (driver, nodes) = (&host.driver, &host.nodes.usable);
    let control = nodes.iter().filter(|node| node.gpu_minor().is_none());
    let mut device_nodes: Vec<DeviceNode> = control.map(device_node).collect();
    device_nodes.sort_by(|a, b| a.path.cmp(&b.path));

    let mut files: BTreeMap<String, HostPath> = BTreeMap::new();
    let folders = [format!("/usr/lib/{}", driver.multiarch), "/usr/lib64".to_owned()];
    for library in &driver.libraries {
        for folder in &folders {
            files.extend(library_mounts(folder, library));
        }
    }
    let binaries = driver.binaries.iter();
    files.extend(binaries.map(|binary| (format!("/usr/bin/{}", binary.name), binary.host.clone())));
    files.extend(driver.extras.iter().map(|file| (file.container.clone(), file.host.clone())));

    // Groups that a process must be in to use a node which is not open to everyone.
    let closed = nodes.iter().chain(&host.nodes.capabilities);
    let closed = closed.filter(|node| node.mode & 0o006 != 0o006 && node.gid != 0);
    let groups: BTreeSet<u32> = closed.map(|node| node.gid).collect();

    let files = files.into_iter().map(|(container, host)| mount(container, host, MOUNT_OPTIONS));
    let sockets = host.sockets.iter();
    let sockets = sockets.map(|file| mount(file.container.clone(), file.host.clone(), SOCKET_OPTIONS));
    ContainerEdits {
        env: vec![void()],
        device_nodes,
        mounts: files.chain(sockets).collect(),
        hooks: host.hook.as_ref().map(|hook| hooks::of_driver(hook, driver, &folders)).unwrap_or_default(),
        additional_gids: groups.into_iter().collect(),
        ..ContainerEdits::default()
    }
}

/// Keeps NVIDIA's own runtime from adding what an image's environment asks for.
pub(super) fn void() -> String {
    format!("{}=void", names::ENV_VISIBLE_DEVICES)
}

/// The devices beside GPUs that the host has, by name.
pub(super) fn companions(found: &Companions) -> Vec<(String, ContainerEdits)> {
    let mut devices = vec![
        (GDS.to_owned(), companion(&found.gds, &found.gds_files)),
        (GDRCOPY.to_owned(), companion(&found.gdrcopy, &[])),
        (MOFED.to_owned(), companion(&found.mofed, &[])),
    ];
    devices.extend(found.imex_channels.iter().map(|node| {
        let number = node.name.trim_start_matches(|c: char| !c.is_ascii_digit());
        (format!("{IMEX_CHANNEL}{number}"), companion(std::slice::from_ref(node), &[]))
    }));
    devices.retain(|(_, edits)| !edits.device_nodes.is_empty());
    devices
}

fn companion(nodes: &[HostNode], files: &[DriverFile]) -> ContainerEdits {
    let files = files.iter();
    ContainerEdits {
        device_nodes: nodes.iter().map(device_node).collect(),
        mounts: files.map(|file| mount(file.container.clone(), file.host.clone(), MOUNT_OPTIONS)).collect(),
        ..ContainerEdits::default()
    }
}

fn library_mounts(folder: &str, library: &DriverLibrary) -> impl Iterator<Item = (String, HostPath)> {
    let gbm =
        library.file_name.starts_with(GBM.0).then(|| (format!("{folder}/{}", GBM.1), library.host.clone()));
    let folder = if library.subfolder.is_empty() {
        folder.to_owned()
    } else {
        format!("{folder}/{}", library.subfolder)
    };
    library.names.iter().map(move |name| (format!("{folder}/{name}"), library.host.clone())).chain(gbm)
}

fn mount(container_path: String, host_path: HostPath, options: [&str; 5]) -> Mount {
    let options = options.map(str::to_owned).to_vec();
    Mount { host_path, container_path, options, fs_type: String::new() }
}
