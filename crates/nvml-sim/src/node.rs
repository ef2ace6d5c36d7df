//! A simulated node as declared: presets and overrides put together and checked. It knows nothing of what
//! happened since (that is `State`), nor of NVML's calls.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::cpu_list::CpuList;
use crate::functions;
use crate::identity;
use crate::latency::Latency;
use crate::model::{Model, ModelLayer};
use crate::node_file::{GpuEntry, NodeFile};
use crate::pci::PciAddress;
use crate::presets;
use crate::topology::{Link, PciePlace};
use crate::yaml::{self, YamlError};

/// Why a node file is not a node.
pub type NodeError = YamlError;

/// More GPUs than any machine has; keeps device numbers and handles in range.
const GPUS_MAX: usize = 64;
/// The PCI device id of an NVSwitch of the Ampere generation.
const NVSWITCH_DEVICE: u16 = 0x1AF1;

/// A declared node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Driver version.
    pub driver_version: String,
    /// NVML version.
    pub nvml_version: String,
    /// Highest CUDA version as NVML counts it: 13.0 is 13000.
    pub cuda_version: u32,
    /// Product name of the machine.
    pub machine: String,
    /// NUMA node -> its CPUs.
    pub cpus: BTreeMap<u32, CpuList>,
    /// NUMA node -> its socket, as far as known.
    pub sockets: BTreeMap<u32, u16>,
    /// The NVSwitches.
    pub nvswitches: Vec<PciAddress>,
    /// PCI device id of the NVSwitches.
    pub nvswitch_device: u16,
    /// The NVLink fabric, if any.
    pub fabric: Option<Fabric>,
    /// How long calls take unless the state says otherwise.
    pub latency: Latency,
    /// The GPUs by NVML index.
    pub gpus: Vec<Gpu>,
}

/// An NVLink fabric.
#[derive(Clone, Debug)]
pub struct Fabric {
    /// UUID of the cluster, all zeros on a single machine.
    pub cluster_uuid: [u8; 16],
    /// The clique in the cluster.
    pub clique: u32,
}

/// A declared GPU.
#[derive(Clone, Debug)]
pub struct Gpu {
    /// NVML index.
    pub index: usize,
    /// UUID, `GPU-…`.
    pub uuid: String,
    /// Serial number of the board.
    pub serial: String,
    /// Minor number of its device node.
    pub minor: u32,
    /// PCI address.
    pub pci: PciAddress,
    /// NUMA node.
    pub numa: Option<u32>,
    /// Place in the PCIe tree.
    pub pcie: PciePlace,
    /// What each NVLink ends at.
    pub links: Vec<Link>,
    /// The model's figures with this GPU's overrides.
    pub model: Model,
}

impl Node {
    /// Reads a node from the text of a node file; `file` is for messages.
    pub fn parse(file: &Path, text: &str) -> Result<Node, NodeError> {
        let declared: NodeFile = yaml::parse(file, text)?;
        let check = Check { file };
        check.gpu_count(declared.gpus.len())?;
        let sockets = check.sockets(&declared)?;
        let mut models = BTreeMap::new();
        let mut gpus = Vec::new();
        for (index, entry) in declared.gpus.iter().enumerate() {
            gpus.push(check.gpu(index, entry, &declared, &sockets, &mut models)?);
        }
        check.distinct(&gpus)?;
        check.latency(&declared.latency)?;
        check.driver(&declared.driver.version)?;
        let cuda_version = check.cuda(&declared.driver.cuda)?;
        let nvml_version = declared
            .driver
            .nvml
            .unwrap_or_else(|| format!("{}.{}", cuda_version / 1000, declared.driver.version));
        let fabric = match &declared.fabric {
            None => None,
            Some(fabric) => {
                let uuid = fabric.cluster_uuid.as_deref().unwrap_or("00000000-0000-0000-0000-000000000000");
                let cluster_uuid = identity::uuid_bytes(&format!("GPU-{uuid}"))
                    .ok_or_else(|| check.fail("fabric.cluster-uuid", format!("`{uuid}` is not a UUID")))?;
                Some(Fabric { cluster_uuid, clique: fabric.clique })
            }
        };
        Ok(Node {
            driver_version: declared.driver.version,
            nvml_version,
            cuda_version,
            machine: declared.machine.unwrap_or_else(|| "Simulated machine".to_owned()),
            cpus: declared.cpus,
            sockets,
            nvswitches: declared.nvswitches,
            nvswitch_device: declared.nvswitch_device.unwrap_or(NVSWITCH_DEVICE),
            fabric,
            latency: declared.latency,
            gpus,
        })
    }

    /// The GPU that a person names by index, UUID or PCI address.
    pub fn find(&self, name: &str) -> Option<&Gpu> {
        let pci = name.parse::<PciAddress>().ok().filter(|_| name.contains(':'));
        self.gpus.iter().find(|gpu| {
            name.parse() == Ok(gpu.index) || gpu.uuid.eq_ignore_ascii_case(name) || pci == Some(gpu.pci)
        })
    }
}

/// The rules between keys, with the file for their messages.
struct Check<'a> {
    file: &'a Path,
}

impl Check<'_> {
    fn fail(&self, path: impl Into<String>, problem: impl Into<String>) -> NodeError {
        YamlError::at(self.file, path, problem)
    }

    fn gpu_count(&self, count: usize) -> Result<(), NodeError> {
        if count > GPUS_MAX {
            return Err(self.fail("gpus", format!("{count} GPUs; at most {GPUS_MAX} can be simulated")));
        }
        Ok(())
    }

    fn gpu(
        &self,
        index: usize,
        entry: &GpuEntry,
        node: &NodeFile,
        sockets: &BTreeMap<u32, u16>,
        models: &mut BTreeMap<String, ModelLayer>,
    ) -> Result<Gpu, NodeError> {
        let at = |key: &str| format!("gpus[{index}].{key}");
        let preset = presets::find(presets::GPUS, &entry.model).ok_or_else(|| {
            let known = presets::names(presets::GPUS);
            self.fail(at("model"), format!("no GPU preset is called `{}`; there are {known}", entry.model))
        })?;
        let layer = match models.get(preset.name) {
            Some(layer) => layer.clone(),
            None => {
                let layer: ModelLayer = yaml::parse(Path::new(preset.name), preset.yaml)?;
                models.insert(preset.name.to_owned(), layer.clone());
                layer
            }
        };
        let model = entry.overrides.clone().over(layer).complete().map_err(|key| {
            let key = key.replace('_', "-");
            self.fail(at("overrides"), format!("neither {} nor the overrides give `{key}`", preset.name))
        })?;
        if model.memory_reserved > model.memory {
            let problem = format!("{} reserved of {} memory", model.memory_reserved, model.memory);
            return Err(self.fail(at("overrides.memory-reserved"), problem));
        }
        if let Some(numa) = entry.numa {
            self.numa(at("numa"), numa, node)?;
        }
        let socket = entry.numa.and_then(|numa| sockets.get(&numa)).copied();
        if let (Some(place), Some(numa), Some(socket)) = (entry.pcie, entry.numa, socket)
            && place.socket() != socket
        {
            let own = place.socket();
            let problem = format!("socket {own}, but its NUMA node {numa} is on socket {socket}");
            return Err(self.fail(at("pcie"), problem));
        }
        let uuid = entry.uuid.clone().unwrap_or_else(|| identity::gpu_uuid(&node.seed, index));
        if identity::uuid_bytes(&uuid).is_none() || uuid.len() != 40 {
            let hint = "write GPU- and 8-4-4-4-12 hexadecimal digits";
            return Err(self.fail(at("uuid"), format!("`{uuid}` is not a GPU UUID; {hint}")));
        }
        Ok(Gpu {
            index,
            uuid,
            serial: entry.serial.clone().unwrap_or_else(|| identity::serial(&node.seed, index)),
            minor: entry.minor.unwrap_or(u32::try_from(index).unwrap_or(u32::MAX)),
            pci: entry.pci,
            numa: entry.numa,
            pcie: entry.pcie.unwrap_or_else(|| PciePlace::alone(socket.unwrap_or(0), index)),
            links: self.links(index, entry, node, &model)?,
            model,
        })
    }

    fn numa(&self, at: impl Into<String>, numa: u32, node: &NodeFile) -> Result<(), NodeError> {
        if node.cpus.is_empty() || node.cpus.contains_key(&numa) {
            return Ok(());
        }
        let known = node.cpus.keys().map(u32::to_string).collect::<Vec<_>>().join(", ");
        Err(self.fail(at, format!("no NUMA node {numa} in `cpus`; there are {known}")))
    }

    /// NUMA node -> socket: as declared, else as the first GPU of each NUMA node tells.
    fn sockets(&self, node: &NodeFile) -> Result<BTreeMap<u32, u16>, NodeError> {
        let mut sockets = BTreeMap::new();
        for (socket, numas) in node.sockets.iter().enumerate() {
            for (index, numa) in numas.iter().enumerate() {
                let at = format!("sockets[{socket}][{index}]");
                self.numa(&at, *numa, node)?;
                let number = u16::try_from(socket).unwrap_or(u16::MAX);
                if sockets.insert(*numa, number).is_some() {
                    return Err(self.fail(at, format!("NUMA node {numa} stands twice; it is on one socket")));
                }
            }
        }
        if node.sockets.is_empty() {
            for (numa, place) in node.gpus.iter().filter_map(|gpu| gpu.numa.zip(gpu.pcie)) {
                sockets.entry(numa).or_insert(place.socket());
            }
        }
        Ok(sockets)
    }

    fn links(
        &self,
        index: usize,
        entry: &GpuEntry,
        node: &NodeFile,
        model: &Model,
    ) -> Result<Vec<Link>, NodeError> {
        let links = model.nvlinks as usize;
        if let Some(peers) = &entry.nvlink_peers {
            let at = format!("gpus[{index}].nvlink-peers");
            if peers.len() > links {
                return Err(self.fail(at, format!("{} links, but the model has {links}", peers.len())));
            }
            if let Some(wrong) = peers.iter().find(|peer| **peer >= node.gpus.len() || **peer == index) {
                return Err(self.fail(at, format!("{wrong} is not the index of another GPU")));
            }
            return Ok(peers.iter().map(|peer| Link::Gpu(*peer)).collect());
        }
        Ok(node.nvswitches.iter().cycle().take(links).map(|switch| Link::Switch(*switch)).collect())
    }

    fn distinct(&self, gpus: &[Gpu]) -> Result<(), NodeError> {
        let mut seen = BTreeSet::new();
        for gpu in gpus {
            let index = gpu.index;
            let keys = [
                ("pci", gpu.pci.to_string()),
                ("uuid", gpu.uuid.to_lowercase()),
                ("minor", gpu.minor.to_string()),
                ("serial", gpu.serial.clone()),
            ];
            for (key, value) in keys {
                if !seen.insert((key, value.clone())) {
                    let problem = format!("`{value}` is that of an earlier GPU too; each GPU needs its own");
                    return Err(self.fail(format!("gpus[{index}].{key}"), problem));
                }
            }
        }
        Ok(())
    }

    fn latency(&self, latency: &Latency) -> Result<(), NodeError> {
        latency.functions.keys().try_for_each(|pattern| {
            let fail = |error| self.fail(format!("latency.functions.{pattern}"), format!("{error}"));
            functions::check(pattern).map_err(fail)
        })
    }

    /// The version names files of a host root, so it must not be a path either.
    fn driver(&self, version: &str) -> Result<(), NodeError> {
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let parts = version.split('.').count();
        if (2..=4).contains(&parts) && version.split('.').all(is_number) {
            return Ok(());
        }
        let hint = "write numbers and dots, such as 580.95.05";
        Err(self.fail("driver.version", format!("`{version}` is not a driver version; {hint}")))
    }

    fn cuda(&self, version: &str) -> Result<u32, NodeError> {
        let parse = || {
            let (major, minor) = version.split_once('.')?;
            let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
            (major < 1000 && minor < 100).then_some(major * 1000 + minor * 10)
        };
        parse().ok_or_else(|| {
            self.fail(
                "driver.cuda",
                format!("`{version}` is not a CUDA version; write it quoted, such as \"13.0\""),
            )
        })
    }
}
