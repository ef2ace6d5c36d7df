//! What labels are made of, as one round found it, and the settings by which they are made. Values only: who reads
//! them, and from where, is no matter here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use gpu_config::{DeviceFilter, GpuRule, MigRule, MigStrategy, TimeSlicing};
use gpu_model::{Detail, DetailSet, Details, GpuUuid, Health, Inventory, PciAddress};
use node_host::vgpu::{VgpuError, VgpuHostDriver};
use node_host::{DriverFlavour, pci};
use thiserror::Error;

/// What is known of the node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// What the driver tells; none while there is no driver to ask.
    pub driver: Option<DriverFacts>,
    /// How the GPUs are, by the device plugin's report where that is current; empty where it is not.
    pub health: BTreeMap<GpuUuid, Health>,
    /// The machine's product name from its firmware (DMI); none where it cannot be read.
    pub machine: Option<String>,
    /// The PCI functions of NVIDIA's (vendor 10de), of every class; none where the bus cannot be read.
    pub pci: Option<Vec<PciFunction>>,
    /// Whether Node Feature Discovery says that there is a GPU of NVIDIA's; none where that is not known. It counts where we
    /// cannot read the bus.
    pub nfd: Option<bool>,
    /// Which of NVIDIA's kernel modules is loaded; none where that cannot be told.
    pub flavour: Option<DriverFlavour>,
}

/// What the driver tells.
#[derive(Clone, Debug, PartialEq)]
pub struct DriverFacts {
    /// Its versions and its GPUs.
    pub inventory: Inventory,
    /// What else it tells of them: at least [`Detail::Fabric`], and what the chosen groups need.
    pub details: Details,
}

/// One PCI function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PciFunction {
    /// Where it is.
    pub address: PciAddress,
    /// Its class of 24 bits, such as 0x030200 for a 3D controller.
    pub class: u32,
    /// The host's driver if it is a virtual GPU, by its config space.
    pub vgpu: Result<Option<VgpuHostDriver>, VgpuError>,
}

impl From<&pci::PciFunction> for PciFunction {
    fn from(function: &pci::PciFunction) -> Self {
        Self { address: function.address, class: function.class, vgpu: function.vgpu() }
    }
}

/// How labels are made.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Whose labels.
    pub face: Face,
    /// What MIG devices become.
    pub mig_strategy: MigStrategy,
    /// Which devices are shared by taking turns.
    pub time_slicing: Option<TimeSlicing>,
    /// Which GPUs the device plugin offers: the others have no part in any label, as pods cannot have them.
    pub filter: DeviceFilter,
    /// What whole GPUs are called: under that name the sharing is looked up. Labels keep `nvidia.com/gpu`.
    pub gpu_rules: Vec<GpuRule>,
    /// As `gpu_rules`, for MIG devices.
    pub mig_rules: Vec<MigRule>,
    /// Groups of labels that are left out unless somebody asks for them.
    pub groups: BTreeSet<Group>,
    /// Seconds since 1970 for the label with the time; none leaves it out.
    pub timestamp: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            face: Face::Native,
            mig_strategy: MigStrategy::None,
            time_slicing: None,
            filter: DeviceFilter::default(),
            gpu_rules: Vec::new(),
            mig_rules: Vec::new(),
            groups: BTreeSet::new(),
            timestamp: None,
        }
    }
}

/// Whose labels are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// NVIDIA's and ours.
    Native,
    /// Those of NVIDIA's gpu-feature-discovery and no other.
    Compat,
}

/// Labels of ours that are made on request only: each costs calls to the driver, or changes often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Whether the memory corrects errors.
    Ecc,
    /// NVLinks that are up.
    NvLink,
    /// The PCI Express link.
    Pcie,
    /// NUMA nodes that have GPUs.
    Numa,
    /// The power limit.
    Power,
    /// Open or proprietary kernel driver.
    DriverFlavour,
    /// Whether the GPU System Processor is in use.
    Gsp,
    /// Whether confidential computing is on.
    ConfidentialCompute,
    /// The largest MIG profile for which there is room.
    MigRoom,
    /// How the GPUs stand in their NVLink fabric.
    Fabric,
}

impl Group {
    /// Every group, in the order of its documentation.
    pub const ALL: [Group; 10] = [
        Group::Ecc,
        Group::NvLink,
        Group::Pcie,
        Group::Numa,
        Group::Power,
        Group::DriverFlavour,
        Group::Gsp,
        Group::ConfidentialCompute,
        Group::MigRoom,
        Group::Fabric,
    ];

    /// Its name, as flags have it.
    pub fn name(self) -> &'static str {
        match self {
            Group::Ecc => "ecc",
            Group::NvLink => "nvlink",
            Group::Pcie => "pcie",
            Group::Numa => "numa",
            Group::Power => "power",
            Group::DriverFlavour => "driver-flavour",
            Group::Gsp => "gsp",
            Group::ConfidentialCompute => "confidential-compute",
            Group::MigRoom => "mig-room",
            Group::Fabric => "fabric",
        }
    }

    /// What the driver has to be asked for it, beside the inventory.
    pub fn detail(self) -> Option<Detail> {
        match self {
            Group::Ecc => Some(Detail::Ecc),
            Group::NvLink => Some(Detail::NvLink),
            Group::Pcie => Some(Detail::Pcie),
            Group::Power => Some(Detail::Power),
            Group::Gsp => Some(Detail::Gsp),
            Group::ConfidentialCompute => Some(Detail::ConfidentialCompute),
            Group::MigRoom => Some(Detail::MigRoom),
            Group::Fabric => Some(Detail::Fabric),
            Group::Numa | Group::DriverFlavour => None,
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Text that names no group.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is no group of labels: there are {}", Group::ALL.map(Group::name).join(", "))]
pub struct ParseGroupError {
    text: String,
}

impl FromStr for Group {
    type Err = ParseGroupError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let group = Group::ALL.into_iter().find(|group| group.name() == text);
        group.ok_or_else(|| ParseGroupError { text: text.to_owned() })
    }
}

impl Settings {
    /// What the driver has to be asked beside its inventory.
    pub fn details(&self) -> DetailSet {
        // The clique is a label of both faces.
        let of_groups = self.groups.iter().filter_map(|group| group.detail());
        of_groups.chain([Detail::Fabric]).collect()
    }
}
