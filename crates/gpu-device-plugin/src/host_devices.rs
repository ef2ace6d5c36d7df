//! What the host has that an answer to the kubelet can name: device nodes, and what there is beside GPUs. Pure: read from
//! the CDI spec that was built, so that all ways of injection give a container the same nodes.

use std::collections::BTreeMap;

use cdi::Spec;
use cdi::builder::{GDRCOPY, GDS, IMEX_CHANNEL, MANAGEMENT, MOFED};
use gpu_model::Inventory;
use node_host::device::CONTROL_NODES;

/// Where NVIDIA's driver has its nodes. Those of displays are others', and come by CDI alone.
const NODES: &str = "/dev/nvidia";

/// A device node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodePath {
    /// Where a container has it.
    pub container: String,
    /// Where the host has it.
    pub host: String,
}

impl NodePath {
    fn same(path: String) -> Self {
        Self { container: path.clone(), host: path }
    }
}

/// The device nodes of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostDevices {
    /// Those that come with any device.
    control: Vec<NodePath>,
    /// Those of each device of the spec, by its name.
    of: BTreeMap<String, Vec<NodePath>>,
}

impl HostDevices {
    /// Those of a spec.
    pub fn of(spec: &Spec) -> Self {
        let devices = spec.devices.iter();
        Self {
            control: nodes(&spec.container_edits.device_nodes),
            of: devices.map(|it| (it.name.clone(), nodes(&it.container_edits.device_nodes))).collect(),
        }
    }

    /// Those that a host with these GPUs should have, by the driver's own names, and all that can be beside them.
    pub fn assumed(inventory: &Inventory) -> Self {
        let mut of = BTreeMap::new();
        for gpu in &inventory.gpus {
            let Some(minor) = gpu.minor.value() else { continue };
            let node = vec![NodePath::same(format!("{NODES}{minor}"))];
            for part in &gpu.mig_devices {
                of.insert(part.uuid.to_string(), node.clone());
            }
            of.insert(gpu.uuid.to_string(), node);
        }
        let gpus = inventory.gpus.iter().filter_map(|gpu| gpu.minor.value());
        let nodes = gpus.map(|minor| NodePath::same(format!("{NODES}{minor}")));
        of.insert(MANAGEMENT.to_owned(), nodes.collect());
        for beside in [GDS, GDRCOPY, MOFED] {
            of.insert(beside.to_owned(), Vec::new());
        }
        let channel = NodePath::same(format!("{NODES}-caps-imex-channels/channel0"));
        of.insert(format!("{IMEX_CHANNEL}0"), vec![channel]);
        let control = CONTROL_NODES.iter().map(|name| NodePath::same(format!("/dev/{name}")));
        Self { control: control.collect(), of }
    }

    /// Whether the spec has a device of this name.
    pub fn has(&self, device: &str) -> bool {
        self.of.contains_key(device)
    }

    /// The nodes that come with any device.
    pub fn control(&self) -> &[NodePath] {
        &self.control
    }

    /// The nodes of a device; none where it has none.
    pub fn nodes(&self, device: &str) -> &[NodePath] {
        self.of.get(device).map_or(&[], Vec::as_slice)
    }
}

fn nodes(of: &[cdi::DeviceNode]) -> Vec<NodePath> {
    let drivers = of.iter().filter(|node| node.path.starts_with(NODES));
    let path = |node: &cdi::DeviceNode| NodePath {
        container: node.path.clone(),
        host: node.host_path.as_ref().map_or_else(|| node.path.clone(), ToString::to_string),
    };
    drivers.map(path).collect()
}
