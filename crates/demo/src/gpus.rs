//! The node's GPUs as its declaration knows them: the show's own oracle for numbers, places and nearness.

use std::collections::BTreeSet;

use nvml_sim::{CommonAncestor, Gpu, Link, Node};

use crate::wording::list;

/// The declared GPUs.
#[derive(Debug)]
pub struct Gpus(Node);

impl Gpus {
    /// Those of this node.
    pub fn of(node: Node) -> Gpus {
        Gpus(node)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.gpus.len()
    }

    /// The declaration.
    pub fn node(&self) -> &Node {
        &self.0
    }

    /// Indexes of these UUIDs, ascending; a stranger has none.
    pub fn indexes(&self, uuids: &[String]) -> Vec<usize> {
        let mut indexes: Vec<usize> =
            self.0.gpus.iter().filter(|gpu| uuids.contains(&gpu.uuid)).map(|gpu| gpu.index).collect();
        indexes.sort_unstable();
        indexes
    }

    /// How far apart the two of these that are farthest apart are.
    pub fn spread(&self, indexes: &[usize]) -> CommonAncestor {
        let chosen = self.chosen(indexes);
        let pairs =
            chosen.iter().enumerate().flat_map(|(at, one)| chosen[..at].iter().map(move |two| (one, two)));
        pairs.map(|(one, two)| one.common_ancestor(two)).max().unwrap_or(CommonAncestor::Internal)
    }

    /// The least spread that any `size` of these have.
    pub fn least_spread(&self, from: &[usize], size: usize) -> CommonAncestor {
        let sets = (0_u32..1 << from.len()).filter(|set| set.count_ones() as usize == size);
        let members = |set: u32| -> Vec<usize> {
            from.iter().enumerate().filter(|(at, _)| set & (1 << at) != 0).map(|(_, index)| *index).collect()
        };
        sets.map(|set| self.spread(&members(set))).min().unwrap_or(CommonAncestor::Internal)
    }

    /// Why these belong together, in words.
    pub fn bond(&self, indexes: &[usize]) -> String {
        let chosen = self.chosen(indexes);
        let to_switch = |gpu: &&Gpu| gpu.links.iter().filter(|link| matches!(link, Link::Switch(_))).count();
        let mut words = Vec::new();
        let links = chosen.iter().map(to_switch).min().unwrap_or(0);
        if links > 0 {
            words.push(format!("{links} NVLinks each by NVSwitch"));
        }
        words.push(
            match self.spread(indexes) {
                CommonAncestor::Internal => "one GPU",
                CommonAncestor::SingleSwitch => "one PCIe switch",
                CommonAncestor::MultipleSwitches => "neighbouring PCIe switches",
                CommonAncestor::HostBridge => "one PCIe host bridge",
                CommonAncestor::Node => "one NUMA node",
                CommonAncestor::System => "several NUMA nodes",
            }
            .to_owned(),
        );
        let numa: BTreeSet<u32> = chosen.iter().filter_map(|gpu| gpu.numa).collect();
        if !numa.is_empty() {
            words.push(format!("NUMA {}", list(numa)));
        }
        words.join("; ")
    }

    fn chosen(&self, indexes: &[usize]) -> Vec<&Gpu> {
        self.0.gpus.iter().filter(|gpu| indexes.contains(&gpu.index)).collect()
    }
}
