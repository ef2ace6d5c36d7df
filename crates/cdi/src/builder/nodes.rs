//! Which device nodes belong to a GPU, its display, and a MIG device.

use std::collections::{BTreeMap, BTreeSet};

use gpu_model::{Gpu, MigDevice};
use node_host::capability;
use node_host::device::{self, DeviceNode as HostNode, NodeKind};

use super::{Host, Parts};
use crate::spec::DeviceNode;

/// A GPU device is read and written; no container needs to make device nodes.
const NODE_PERMISSIONS: &str = "rw";

/// The nodes of the host by what they are.
pub(super) struct NodesOf<'h> {
    host: &'h Host,
    gpus: BTreeMap<u32, &'h HostNode>,
    unusable_gpus: BTreeMap<u32, &'h String>,
    capabilities: BTreeMap<u32, &'h HostNode>,
}

/// Nodes by path, and links.
type Display = (BTreeMap<String, DeviceNode>, BTreeSet<(String, String)>);

impl<'h> NodesOf<'h> {
    pub fn new(host: &'h Host) -> NodesOf<'h> {
        let nodes = &host.nodes;
        let gpus = nodes.usable.iter().filter_map(|node| Some((node.gpu_minor()?, node)));
        let unusable_gpus =
            nodes.unusable.iter().filter_map(|(name, why)| Some((device::gpu_minor(name)?, why)));
        let capabilities = nodes.capabilities.iter().filter_map(|node| Some((node.capability()?, node)));
        NodesOf {
            host,
            gpus: gpus.collect(),
            unusable_gpus: unusable_gpus.collect(),
            capabilities: capabilities.collect(),
        }
    }

    /// The node of a GPU, or what is missing.
    pub fn of_gpu(&self, gpu: &Gpu) -> Result<Parts, String> {
        let Some(minor) = gpu.minor.value() else {
            return Err("the driver does not tell its minor number".to_owned());
        };
        match (self.gpus.get(minor), self.unusable_gpus.get(minor)) {
            (Some(node), _) => Ok(Parts { nodes: BTreeMap::from([by_path(node)]), ..Parts::default() }),
            (None, Some(why)) => Err(why.to_string()),
            (None, None) => Err(format!("/dev/nvidia{minor} does not exist")),
        }
    }

    /// The nodes of a MIG device, that of its GPU included, or what is missing.
    pub fn of_mig_device(&self, gpu: &Gpu, part: &MigDevice) -> Result<Parts, String> {
        let mut parts = self.of_gpu(gpu)?;
        let Some(minor) = gpu.minor.value().copied() else { return Ok(parts) };
        let minors = &self.host.mig_minors;
        let (instance, compute) = (part.gpu_instance, part.compute_instance);
        let place = format!("gpu{minor}/gi{instance}");
        for (place, number) in [
            (place.clone(), minors.gpu_instance(minor, instance)),
            (format!("{place}/ci{compute}"), minors.compute_instance(minor, instance, compute)),
        ] {
            let number = number
                .ok_or_else(|| format!("/proc/driver/nvidia-caps/mig-minors has no number of {place}"))?;
            parts.nodes.extend([by_path(self.capability(number)?)]);
        }
        Ok(parts)
    }

    /// The nodes of all GPUs, also of those that the driver does not list, and of all capabilities.
    pub fn of_management(&self) -> Parts {
        let all = self.gpus.values().chain(self.capabilities.values());
        Parts { nodes: all.map(|node| by_path(node)).collect(), ..Parts::default() }
    }

    fn capability(&self, number: u32) -> Result<&'h HostNode, String> {
        let name = capability::node_name(number);
        self.capabilities.get(&number).copied().ok_or_else(|| match self.host.nodes.unusable.get(&name) {
            Some(why) => why.clone(),
            None => format!("/dev/{name} does not exist"),
        })
    }

    /// The display nodes of a GPU, and the links by which programs find them by its address.
    pub fn of_display(&self, gpu: &Gpu) -> Display {
        let mut display = Display::default();
        let Some(pci) = gpu.pci.value() else { return display };
        for node in self.host.displays.get(pci).into_iter().flatten() {
            let file_name = node.name.rsplit('/').next().unwrap_or_default();
            let kind = if file_name.starts_with("renderD") { "render" } else { "card" };
            let link = format!("/dev/dri/by-path/pci-{pci}-{kind}");
            display.1.insert((format!("../{file_name}"), link));
            display.0.extend([by_path(node)]);
        }
        display
    }
}

fn by_path(node: &HostNode) -> (String, DeviceNode) {
    (node.container_path(), device_node(node))
}

/// A node as a container gets it: the numbers are stated, so that a stale spec is caught by a check and never
/// opens another device.
pub(super) fn device_node(node: &HostNode) -> DeviceNode {
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
