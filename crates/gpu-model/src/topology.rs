//! How the GPUs of a node are wired to each other.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{GpuUuid, Reading};

/// The nearest thing that two GPUs share, from near to far, as `nvmlGpuTopologyLevel_t` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommonAncestor {
    /// One board.
    SameBoard,
    /// One PCIe switch.
    SinglePcieSwitch,
    /// Several PCIe switches, no host bridge.
    MultiplePcieSwitches,
    /// One PCIe host bridge.
    HostBridge,
    /// One NUMA node, several host bridges.
    NumaNode,
    /// Only the machine: traffic crosses between sockets.
    System,
}

/// What lies between two GPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuLink {
    /// Nearest common ancestor on PCIe.
    pub ancestor: CommonAncestor,
    /// Active NVLinks that join the two directly.
    pub nvlinks: u32,
}

/// The wiring of a node. Absent pairs are unknown, not far apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// Every known GPU's own facts.
    pub gpus: BTreeMap<GpuUuid, GpuPlace>,
    /// Known pairs, each once, the smaller UUID first.
    pub pairs: Vec<(GpuUuid, GpuUuid, GpuLink)>,
}

/// Where one GPU sits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuPlace {
    /// Active NVLinks that end at an NVSwitch: every GPU with some reaches every other such GPU. A single
    /// link that cannot be asked is not counted; a failure means that none could be.
    pub nvswitch_links: Reading<u32>,
}

impl Topology {
    /// What lies between two GPUs, in either order.
    pub fn link(&self, a: &GpuUuid, b: &GpuUuid) -> Option<GpuLink> {
        let (first, second) = if a <= b { (a, b) } else { (b, a) };
        self.pairs.iter().find(|(x, y, _)| x == first && y == second).map(|(_, _, link)| *link)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_between_two_gpus_is_the_same_in_both_orders() {
        let a: GpuUuid = "GPU-00000000-0000-0000-0000-000000000001".parse().unwrap();
        let b: GpuUuid = "GPU-00000000-0000-0000-0000-000000000002".parse().unwrap();
        let link = GpuLink { ancestor: CommonAncestor::NumaNode, nvlinks: 12 };
        let topology = Topology { gpus: BTreeMap::new(), pairs: vec![(a.clone(), b.clone(), link)] };
        assert_eq!(topology.link(&a, &b), Some(link));
        assert_eq!(topology.link(&b, &a), Some(link));
        assert_eq!(topology.link(&a, &a), None);
    }

    #[test]
    fn ancestors_order_from_near_to_far() {
        assert!(CommonAncestor::SameBoard < CommonAncestor::SinglePcieSwitch);
        assert!(CommonAncestor::NumaNode < CommonAncestor::System);
    }
}
