//! A simulated node as declared: presets and overrides put together and checked. It knows nothing of what
//! happened since (that is `State`), nor of NVML's calls.

mod check;
mod limits;

use std::collections::BTreeMap;
use std::path::Path;

use thiserror::Error;

use crate::cpu_list::CpuList;
use crate::drain::PciPart;
use crate::faults::Declared;
use crate::latency::Latency;
use crate::load::Load;
use crate::mig::Wanted;
use crate::model::{Architecture, Model};
use crate::node_file::{KernelModule, NodeFile, PciConfig, VgpuSection};
use crate::pci::PciAddress;
use crate::processes::ProcessEntry;
use crate::state::State;
use crate::topology::{Link, PciePlace};
use crate::trim::Branch;
use crate::yaml::{self, YamlError};
use check::Check;

/// Why a node file is not a node.
pub type NodeError = YamlError;

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
    /// The branch whose functions the library of `nvml-sim run` and `root` has; all that there are where absent.
    pub symbols: Option<Branch>,
    /// Which kernel module the driver's own file names.
    pub kernel_module: KernelModule,
    /// Product name of the machine.
    pub machine: String,
    /// Whether DMI tells it.
    pub dmi: bool,
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
    /// The faults of a node that was just made.
    pub faults: Vec<Declared>,
    /// The processes of a node that was just made.
    pub processes: Vec<ProcessEntry>,
    /// The GPUs by NVML index.
    pub gpus: Vec<Gpu>,
    /// Those that whoever looks does not see, since they drain or were removed.
    pub away: Vec<Gpu>,
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
    /// Place in the node file, whatever others come and go.
    pub place: usize,
    /// What its handles carry: its place, or another number once its index has changed.
    pub handle: u32,
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
    /// The NUMA node that its memory is, where the CPU reaches it as its own.
    pub memory_numa: Option<u32>,
    /// Place in the PCIe tree.
    pub pcie: PciePlace,
    /// What each NVLink ends at.
    pub links: Vec<Link>,
    /// The vGPU that it is on the PCI bus.
    pub vgpu: Option<VgpuSection>,
    /// How much of its PCI configuration space there is.
    pub pci_config: PciConfig,
    /// What it is busy with.
    pub load: Load,
    /// The MIG instances of a node that was just made; nothing where MIG is off.
    pub mig_instances: Option<Vec<Wanted>>,
    /// The model's figures with this GPU's overrides.
    pub model: Model,
}

impl Node {
    /// Reads a node from the text of a node file; `file` is for messages.
    pub fn parse(file: &Path, text: &str) -> Result<Node, NodeError> {
        let declared: NodeFile = yaml::parse(file, text)?;
        let check = Check { file };
        check.gpu_count(declared.gpus.len())?;
        check.machine(&declared)?;
        let sockets = check.sockets(&declared)?;
        let mut models = BTreeMap::new();
        let mut gpus = Vec::new();
        for (index, entry) in declared.gpus.iter().enumerate() {
            gpus.push(check.gpu(index, entry, &declared, &sockets, &mut models)?);
        }
        check.distinct(&gpus, &declared.nvswitches)?;
        check.peers(&gpus)?;
        let latency = check.latency(declared.latency, &gpus)?;
        check.driver(&declared.driver.version)?;
        let cuda_version = check.cuda(&declared.driver.cuda)?;
        let nvml_version = declared
            .driver
            .nvml
            .unwrap_or_else(|| format!("{}.{}", cuda_version / 1000, declared.driver.version));
        check.nvml(&nvml_version)?;
        let has_open_only = gpus.iter().any(|gpu| gpu.model.architecture >= Architecture::Blackwell);
        let own_module = if has_open_only { KernelModule::Open } else { KernelModule::Proprietary };
        let fabric = declared.fabric.map(|fabric| check.fabric(&fabric)).transpose()?;
        let mut node = Node {
            driver_version: declared.driver.version,
            nvml_version,
            cuda_version,
            symbols: declared.driver.symbols,
            kernel_module: declared.driver.kernel_module.unwrap_or(own_module),
            machine: declared.machine.unwrap_or_else(|| "Simulated machine".to_owned()),
            dmi: declared.dmi,
            cpus: declared.cpus,
            sockets,
            nvswitches: declared.nvswitches,
            nvswitch_device: declared.nvswitch_device.unwrap_or(NVSWITCH_DEVICE),
            fabric,
            latency,
            faults: Vec::new(),
            processes: Vec::new(),
            gpus,
            away: Vec::new(),
        };
        // In the order in which it will come to this.
        let mut beginning = State::initial(&node, 0);
        node.processes = check.processes(declared.processes, &node, &mut beginning)?;
        node.faults = check.faults(declared.faults, &node, &mut beginning)?;
        Ok(node)
    }

    /// This node with another driver; its NVML follows.
    pub fn load_driver(&mut self, version: &str) {
        self.driver_version = version.to_owned();
        self.nvml_version = format!("{}.{version}", self.cuda_version / 1000);
    }

    /// Every GPU of the node file, seen or not.
    pub fn all(&self) -> impl Iterator<Item = &Gpu> {
        self.gpus.iter().chain(&self.away)
    }

    /// The GPU at a place of the node file, seen or not.
    pub fn at_place(&self, place: usize) -> Option<&Gpu> {
        self.all().find(|gpu| gpu.place == place)
    }

    /// The GPU of a PCI address, seen or not.
    pub fn at_address(&self, address: PciPart) -> Option<&Gpu> {
        self.all().find(|gpu| address.is_of(gpu.pci))
    }

    /// The GPU that a person names by index, UUID or PCI address.
    pub fn find(&self, name: &str) -> Option<&Gpu> {
        find(&self.gpus, name)
    }
}

/// Checks the version of a driver that is not a node file's.
pub fn check_driver_version(version: &str) -> Result<(), NodeError> {
    Check { file: Path::new("nvml-sim reload") }.driver(version)
}

fn find<'a>(gpus: &'a [Gpu], name: &str) -> Option<&'a Gpu> {
    let pci = name.parse::<PciAddress>().ok().filter(|_| name.contains(':'));
    gpus.iter().find(|gpu| {
        name.parse() == Ok(gpu.index) || gpu.uuid.eq_ignore_ascii_case(name) || pci == Some(gpu.pci)
    })
}

/// A name that is no GPU's.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("no GPU `{name}`: name it by index, UUID or PCI address; {known}")]
pub struct NoGpuError {
    /// The name given.
    pub name: String,
    /// What would be right.
    pub known: String,
}

/// The GPU of a name, or what would have been right.
pub fn find_or_tell<'a>(gpus: &'a [Gpu], name: &str) -> Result<&'a Gpu, NoGpuError> {
    find(gpus, name).ok_or_else(|| {
        let known = match gpus.len() {
            0 => "the node has none".to_owned(),
            1 => "there is one, index 0".to_owned(),
            count => format!("there are indexes 0 to {}", count - 1),
        };
        NoGpuError { name: name.to_owned(), known }
    })
}
