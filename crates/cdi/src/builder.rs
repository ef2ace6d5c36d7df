//! The spec of a node's GPUs and MIG devices, from what was found on it. Pure: the same findings give the same spec.

mod edits;
mod hooks;
mod nodes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use gpu_model::{Gpu, GpuUuid, Inventory, MigDevice, MigUuid, PciAddress, names};
use node_host::capability::MigMinors;
use node_host::device::{DeviceNode as HostNode, Nodes};
use node_host::{Companions, DriverFile, DriverFiles, HostPath};
use thiserror::Error;

use crate::spec::{ContainerEdits, Device, DeviceNode, Kind, Spec};
use crate::version::Version;

use self::nodes::NodesOf;

/// Name of the device that stands for all GPUs of the node.
pub const ALL: &str = "all";

/// Name of the device that gives the daemons of a node what the driver guards: the nodes of all GPUs, listed or not, and of
/// all MIG capabilities.
///
/// Among these are `mig/config`, by which a process without CAP_SYS_ADMIN makes and removes instances, and `mig/monitor`, by
/// which it sees those of others: NVIDIA's MIG user guide, "Device Nodes and Capabilities".
pub const MANAGEMENT: &str = "management";

/// Name of the device of GPUDirect Storage.
pub const GDS: &str = "gds";

/// Name of the device of GDRCopy.
pub const GDRCOPY: &str = "gdrcopy";

/// Name of the device of InfiniBand, which NVIDIA's drivers for it call MOFED.
pub const MOFED: &str = "mofed";

/// What the name of an IMEX channel's device begins with, before its number.
pub const IMEX_CHANNEL: &str = "imex-channel";

/// What was found on the host.
#[derive(Clone, Debug)]
pub struct Host {
    /// The driver's files.
    pub driver: DriverFiles,
    /// The driver's device nodes, from `node_host::device::nodes`.
    pub nodes: Nodes,
    /// Numbers of MIG capabilities.
    pub mig_minors: MigMinors,
    /// Display nodes of the GPUs that have some.
    pub displays: BTreeMap<PciAddress, Vec<HostNode>>,
    /// What can be given beside GPUs.
    pub companions: Companions,
    /// Sockets of the driver's daemons.
    pub sockets: Vec<DriverFile>,
    /// NVIDIA's program for hooks, `nvidia-cdi-hook` or `nvidia-ctk`, where hooks are wanted.
    pub hook: Option<HostPath>,
    /// Whether there is to be a device [`MANAGEMENT`]: whoever may name CDI devices could take it.
    pub management: bool,
}

/// What must stay resolvable, since a container that holds one may be started again.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'a> {
    /// GPUs and MIG devices as they were last seen. Those of the inventory are passed over.
    pub gpus: &'a [Gpu],
    /// UUIDs of which nothing else is known. They give no node.
    pub names: &'a VecDeque<String>,
}

/// A spec, and what it could not take in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuSpec {
    /// The spec.
    pub spec: Spec,
    /// GPUs without a usable device node, each with what is missing.
    pub left_out: BTreeMap<GpuUuid, String>,
    /// MIG devices without one of their nodes, each with what is missing.
    pub mig_left_out: BTreeMap<MigUuid, String>,
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

/// The spec: one device per GPU and per MIG device, named by UUID; `all`; [`MANAGEMENT`] where it is wanted; and what can
/// be given beside GPUs. Control nodes and the driver's files come with any of them.
///
/// - A GPU has its node, the nodes of its display, and where it is partitioned those of all its parts.
/// - A MIG device has the node of its GPU and those of the two capabilities of its instances, and no other.
///
/// One that is kept and not in the inventory any more gives nothing that is another's by now: a GPU its node only while
/// no other GPU has that minor number, a MIG device its nodes only while it may be there and not be read.
pub fn build(inventory: &Inventory, kept: &Kept<'_>, host: &Host) -> Result<GpuSpec, BuildError> {
    let nodes = NodesOf::new(host);
    let mut built = Built::default();
    for gpu in &inventory.gpus {
        built.add(gpu, &nodes);
    }
    for gpu in kept.gpus {
        built.keep(gpu, inventory, &nodes);
    }
    for name in kept.names {
        built.keep_name(name);
    }
    if built.devices.is_empty() {
        let left_out = built.left_out.iter().map(|(gpu, why)| format!("{gpu}: {why}")).collect();
        return Err(BuildError::NoGpu { left_out });
    }

    let everything = built.everything(inventory);
    let management = host.management.then(|| (MANAGEMENT.to_owned(), nodes.of_management()));
    let devices = built.devices.into_iter().chain([(ALL.to_owned(), everything)]).chain(management);
    let devices = devices.map(|(name, parts)| (name, parts.edits(host.hook.as_ref())));
    let mut spec = Spec {
        cdi_version: Version::V0_3_0,
        kind: names::CDI_KIND_GPU.parse::<Kind>()?,
        annotations: BTreeMap::new(),
        devices: devices.chain(edits::companions(&host.companions)).map(device).collect(),
        container_edits: edits::of_all(host),
    };
    spec.cdi_version = spec.lowest_version();
    Ok(GpuSpec { spec, left_out: built.left_out, mig_left_out: built.mig_left_out })
}

/// What one device gives.
#[derive(Clone, Debug, Default)]
struct Parts {
    /// By path in the container.
    nodes: BTreeMap<String, DeviceNode>,
    /// Links in the container, as hooks make them: target and name.
    links: BTreeSet<(String, String)>,
}

#[derive(Default)]
struct Built {
    devices: BTreeMap<String, Parts>,
    left_out: BTreeMap<GpuUuid, String>,
    mig_left_out: BTreeMap<MigUuid, String>,
}

impl Built {
    fn add(&mut self, gpu: &Gpu, nodes: &NodesOf<'_>) {
        let mut whole = match nodes.of_gpu(gpu) {
            Ok(whole) => whole,
            Err(why) => {
                self.left_out.insert(gpu.uuid.clone(), why.clone());
                let parts = gpu.mig_devices.iter().map(|part| (part.uuid.clone(), why.clone()));
                self.mig_left_out.extend(parts);
                return;
            }
        };
        for part in &gpu.mig_devices {
            match nodes.of_mig_device(gpu, part) {
                Ok(parts) => {
                    whole.nodes.extend(parts.nodes.clone());
                    self.devices.insert(part.uuid.to_string(), parts);
                }
                Err(why) => {
                    self.mig_left_out.insert(part.uuid.clone(), why);
                }
            }
        }
        let (displays, links) = nodes.of_display(gpu);
        whole.nodes.extend(displays);
        whole.links = links;
        self.devices.insert(gpu.uuid.to_string(), whole);
    }

    fn keep(&mut self, gpu: &Gpu, inventory: &Inventory, nodes: &NodesOf<'_>) {
        let listed = inventory.gpus.iter().find(|known| known.uuid == gpu.uuid);
        let is_taken = listed.is_none() && inventory.gpus.iter().any(|other| other.minor == gpu.minor);
        if listed.is_none() {
            let own = if is_taken { None } else { nodes.of_gpu(gpu).ok() };
            self.devices.entry(gpu.uuid.to_string()).or_insert_with(|| own.unwrap_or_default());
        }
        for part in &gpu.mig_devices {
            // One that is listed and lacks a node must fail a container rather than start it without.
            if self.mig_left_out.contains_key(&part.uuid) {
                continue;
            }
            // Nodes of capabilities may outlive their instance, and be another one's next.
            let may_live = match listed {
                None => !is_taken,
                Some(now) => {
                    !now.mig_failures.is_empty() && !now.mig_devices.iter().any(|other| is_at(other, part))
                }
            };
            let own = if may_live { nodes.of_mig_device(gpu, part).ok() } else { None };
            self.devices.entry(part.uuid.to_string()).or_insert_with(|| own.unwrap_or_default());
        }
    }

    fn keep_name(&mut self, name: &str) {
        let gpu: Result<GpuUuid, _> = name.parse();
        let part: Result<MigUuid, _> = name.parse();
        let is_free = match (&gpu, &part) {
            (Ok(gpu), _) => !self.left_out.contains_key(gpu),
            (_, Ok(part)) => !self.mig_left_out.contains_key(part),
            _ => false,
        };
        if is_free {
            self.devices.entry(name.to_owned()).or_default();
        }
    }

    /// What all GPUs of the inventory give.
    fn everything(&self, inventory: &Inventory) -> Parts {
        let mut everything = Parts::default();
        for gpu in inventory.gpus.iter().filter_map(|gpu| self.devices.get(gpu.uuid.as_str())) {
            everything.nodes.extend(gpu.nodes.clone());
            everything.links.extend(gpu.links.clone());
        }
        everything
    }
}

/// Whether two MIG devices of one GPU use the same capabilities.
fn is_at(one: &MigDevice, other: &MigDevice) -> bool {
    (one.gpu_instance, one.compute_instance) == (other.gpu_instance, other.compute_instance)
}

impl Parts {
    fn edits(self, hook: Option<&HostPath>) -> ContainerEdits {
        let mut device_nodes: Vec<DeviceNode> = self.nodes.into_values().collect();
        device_nodes.sort_by_key(|node| (node.major, node.minor, node.path.clone()));
        // The format wants a device to do something: it says again what all of them say.
        let env = if device_nodes.is_empty() { vec![edits::void()] } else { Vec::new() };
        let hooks = hook.map(|hook| hooks::links(hook, &self.links)).unwrap_or_default();
        ContainerEdits { env, device_nodes, hooks, ..ContainerEdits::default() }
    }
}

fn device((name, container_edits): (String, ContainerEdits)) -> Device {
    Device { name, annotations: BTreeMap::new(), container_edits }
}
