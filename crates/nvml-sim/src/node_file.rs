//! The schema of `node.yaml`: what a node file may say. It knows no defaults that need other keys and no rules
//! between keys: those are `node.rs`'s.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::cpu_list::CpuList;
use crate::faults::FaultEntry;
use crate::latency::Latency;
use crate::load::Load;
use crate::model::ModelLayer;
use crate::pci::PciAddress;
use crate::processes::ProcessEntry;
use crate::topology::PciePlace;
use crate::trim::Branch;

/// The node file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NodeFile {
    /// Versions of the driver.
    pub driver: DriverSection,
    /// Product name of the machine, as DMI gives it.
    #[serde(default)]
    pub machine: Option<String>,
    /// Whether the machine has DMI, which tells its product name in `/sys/class/dmi` of a host root.
    #[serde(default = "yes")]
    pub dmi: bool,
    /// From which UUIDs and serial numbers follow.
    pub seed: String,
    /// NUMA node -> its CPUs.
    #[serde(default)]
    pub cpus: BTreeMap<u32, CpuList>,
    /// For each socket its NUMA nodes; as the GPUs' places tell where absent.
    #[serde(default)]
    pub sockets: Vec<Vec<u32>>,
    /// PCI addresses of the NVSwitches, over which the GPUs' NVLinks are spread.
    #[serde(default)]
    pub nvswitches: Vec<PciAddress>,
    /// PCI device id of the NVSwitches; that of the Ampere generation where absent.
    #[serde(default)]
    pub nvswitch_device: Option<u16>,
    /// The NVLink fabric that the GPUs are part of.
    #[serde(default)]
    pub fabric: Option<FabricSection>,
    /// How long calls take.
    #[serde(default)]
    pub latency: Latency,
    /// Faults that wait for calls from the beginning.
    #[serde(default)]
    pub faults: Vec<FaultEntry>,
    /// Processes that run from the beginning.
    #[serde(default)]
    pub processes: Vec<ProcessEntry>,
    /// The GPUs in the order of their NVML index.
    pub gpus: Vec<GpuEntry>,
}

/// The driver: its versions.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DriverSection {
    /// Driver version, such as `580.95.05`.
    pub version: String,
    /// NVML version; the driver's with the CUDA major in front where absent.
    #[serde(default)]
    pub nvml: Option<String>,
    /// Highest CUDA version, quoted, such as `"13.0"`.
    pub cuda: String,
    /// The branch whose functions its library has, in `nvml-sim run` and `root`; all that there are where absent.
    #[serde(default)]
    pub symbols: Option<Branch>,
    /// Which of NVIDIA's kernel modules `/proc/driver/nvidia/version` names; where absent, the open one if a GPU is of
    /// Blackwell or newer, which knows no other.
    #[serde(default)]
    pub kernel_module: Option<KernelModule>,
}

/// A kernel module of NVIDIA's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KernelModule {
    /// The one whose source is open.
    Open,
    /// The proprietary one.
    Proprietary,
}

/// The NVLink fabric.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FabricSection {
    /// UUID of the cluster; all zeros on a machine that is no part of a larger fabric.
    #[serde(default)]
    pub cluster_uuid: Option<String>,
    /// The clique in the cluster.
    #[serde(default)]
    pub clique: u32,
}

/// A GPU.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct GpuEntry {
    /// Name of a GPU preset.
    pub model: String,
    /// PCI address, quoted.
    pub pci: PciAddress,
    /// NUMA node.
    #[serde(default)]
    pub numa: Option<u32>,
    /// NUMA node that the GPU's memory is, on a machine whose CPU reaches it over NVLink-C2C.
    #[serde(default)]
    pub memory_numa: Option<u32>,
    /// Where it sits in the PCIe tree.
    #[serde(default)]
    pub pcie: Option<PciePlace>,
    /// Minor number of the device node; the index where absent.
    #[serde(default)]
    pub minor: Option<u32>,
    /// UUID; from the seed where absent.
    #[serde(default)]
    pub uuid: Option<String>,
    /// Serial number; from the seed where absent.
    #[serde(default)]
    pub serial: Option<String>,
    /// GPU instances that the GPU has when the node is made, such as `[3g.40gb, 1g.10gb@4]`, where `@` says or at the driver's
    /// choice: each with a compute instance that takes all of it, or with those behind slashes, such as `3g.40gb@0/2c/1c`, or
    /// with `/none`. MIG is on where the key stands, even with none.
    #[serde(default)]
    pub mig_instances: Option<Vec<String>>,
    /// For each NVLink the index of the GPU at its other end, on machines without NVSwitch.
    #[serde(default)]
    pub nvlink_peers: Option<Vec<usize>>,
    /// The vGPU that it is on the PCI bus of a host root; in NVML it is a GPU like others.
    #[serde(default)]
    pub vgpu: Option<VgpuSection>,
    /// How much of its PCI configuration space is in a host root: all 256 bytes, the 64 that the kernel gives to a process
    /// without `CAP_SYS_ADMIN`, or no file. Whole where absent.
    #[serde(default)]
    pub pci_config: PciConfig,
    /// What it is busy with.
    #[serde(default)]
    pub load: Load,
    /// Keys of the model that are different for this GPU.
    #[serde(default)]
    pub overrides: ModelLayer,
}

/// A vGPU: what its host writes into the PCI configuration space.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct VgpuSection {
    /// Version of the host's driver, quoted, such as `"535.129.03"`; ten characters at most.
    pub host_version: String,
    /// Branch of the host's driver, such as `r535_00`; ten characters at most.
    pub host_branch: String,
}

/// How much of a PCI configuration space there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PciConfig {
    /// All 256 bytes.
    #[default]
    Whole,
    /// The 64 bytes that the kernel gives to a process without `CAP_SYS_ADMIN`.
    Head,
    /// No file.
    Missing,
}

fn yes() -> bool {
    true
}
