//! How near two GPUs are: places in the PCIe tree and ends of NVLinks. Pure; it knows no handle and no call.

use serde::Deserialize;
use thiserror::Error;

use crate::code::Code;
use crate::node::Gpu;
use crate::pci::PciAddress;
use crate::snapshot::GpuView;

/// Socket, host bridge, group of switches and switch, counted within the one before: `0/3/0/0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PciePlace([u16; 4]);

/// Text that is not a place in the PCIe tree.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{0}` is not a place; write socket/host bridge/switch group/switch, such as 0/3/0/0")]
pub struct ParsePciePlaceError(String);

/// The nearest thing that two GPUs have in common; numbers are `nvmlGpuTopologyLevel_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CommonAncestor {
    /// The same GPU or board.
    Internal = 0,
    /// One PCIe switch.
    SingleSwitch = 10,
    /// Several PCIe switches, without the host bridge.
    MultipleSwitches = 20,
    /// One PCIe host bridge.
    HostBridge = 30,
    /// One NUMA node.
    Node = 40,
    /// The link between NUMA nodes, on one socket or between sockets.
    System = 50,
}

/// What an NVLink ends at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// An NVSwitch.
    Switch(PciAddress),
    /// The GPU at a place of the node file.
    Gpu(usize),
    /// An NVSwitch of the fabric, which is no PCI device of this machine.
    Fabric,
}

impl Link {
    /// Whether it leads to whatever else is linked to switches.
    fn is_to_switch(&self) -> bool {
        matches!(self, Link::Switch(_) | Link::Fabric)
    }
}

impl PciePlace {
    /// A host bridge of its own on a socket.
    pub fn alone(socket: u16, index: usize) -> Self {
        PciePlace([socket, u16::try_from(index).unwrap_or(u16::MAX), 0, 0])
    }

    /// The CPU socket.
    pub fn socket(&self) -> u16 {
        let [socket, ..] = self.0;
        socket
    }

    /// What two devices have in common as far as PCIe goes.
    fn common_ancestor(&self, other: &PciePlace) -> CommonAncestor {
        match self.0.iter().zip(other.0).take_while(|(mine, theirs)| **mine == *theirs).count() {
            0 => CommonAncestor::System,
            1 => CommonAncestor::Node,
            2 => CommonAncestor::HostBridge,
            3 => CommonAncestor::MultipleSwitches,
            _ => CommonAncestor::SingleSwitch,
        }
    }
}

impl TryFrom<String> for PciePlace {
    type Error = ParsePciePlaceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let parts: Option<Vec<u16>> = text.split('/').map(|part| part.parse().ok()).collect();
        let place = parts.and_then(|parts| <[u16; 4]>::try_from(parts).ok());
        place.map(PciePlace).ok_or(ParsePciePlaceError(text))
    }
}

impl Gpu {
    /// What this GPU has in common with another.
    pub fn common_ancestor(&self, other: &Gpu) -> CommonAncestor {
        if self.place == other.place {
            return CommonAncestor::Internal;
        }
        match self.pcie.common_ancestor(&other.pcie) {
            // A socket may hold several NUMA nodes; what lies between those is the system's.
            CommonAncestor::Node if self.numa != other.numa => CommonAncestor::System,
            ancestor => ancestor,
        }
    }
}

impl GpuView<'_> {
    /// What this GPU has in common with another.
    pub fn common_ancestor(&self, other: &Gpu) -> CommonAncestor {
        self.gpu.common_ancestor(other)
    }

    /// What an NVLink ends at; nothing where it is not connected, or down.
    pub fn link(&self, link: u32) -> Result<Option<Link>, Code> {
        match self.gpu.model.nvlinks {
            0 => Err(Code::NOT_SUPPORTED),
            links if link >= links => Err(Code::INVALID_ARGUMENT),
            _ if self.snapshot.state.links.contains(&self.gpu.uuid, link) => Ok(None),
            _ => Ok(self.gpu.links.get(link as usize).copied().filter(|end| self.is_there(*end))),
        }
    }

    /// Whether a link has another end: a GPU that was removed is none.
    fn is_there(&self, end: Link) -> bool {
        let Link::Gpu(place) = end else { return true };
        let gpu = self.snapshot.node.at_place(place);
        gpu.is_some_and(|gpu| !self.snapshot.state.drains.is_removed(&gpu.uuid))
    }

    /// Number of NVLinks that end at an NVSwitch.
    pub fn switch_links(&self) -> u32 {
        let switches = self.gpu.links.iter().filter(|link| link.is_to_switch());
        u32::try_from(switches.count()).unwrap_or(u32::MAX)
    }

    /// Whether NVLinks lead from this GPU to another, directly or through NVSwitches.
    pub fn is_linked_to(&self, other: &Gpu) -> bool {
        let leads = |from: &Gpu, wanted: &dyn Fn(&Link) -> bool| {
            let down = self.snapshot.state.links.of(&from.uuid);
            let is_up = |number: u32| down.is_none_or(|links| !links.contains(&number));
            (0..).zip(&from.links).any(|(number, link)| wanted(link) && is_up(number))
        };
        let to_switch = |from: &Gpu| leads(from, &Link::is_to_switch);
        leads(self.gpu, &|link| *link == Link::Gpu(other.place)) || to_switch(self.gpu) && to_switch(other)
    }
}
