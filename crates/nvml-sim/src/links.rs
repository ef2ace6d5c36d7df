//! Which NVLinks are down. A link has two ends, and goes down at both. It knows who is linked to whom, not why one is down.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::node::{Gpu, Node};
use crate::topology::Link;

/// The NVLinks that are down, by GPU UUID.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LinksDown(BTreeMap<String, BTreeSet<u32>>);

impl LinksDown {
    /// Whether a link of a GPU is down.
    pub fn contains(&self, gpu: &str, link: u32) -> bool {
        self.0.get(gpu).is_some_and(|links| links.contains(&link))
    }

    /// The links of a GPU that are down.
    pub fn of(&self, gpu: &str) -> Option<&BTreeSet<u32>> {
        self.0.get(gpu)
    }

    /// Takes links down, all where none is named.
    pub fn take_down(&mut self, node: &Node, gpu: &Gpu, links: &[u32]) {
        for link in named(gpu, links) {
            for (end, link) in ends(node, gpu, link) {
                self.0.entry(end.uuid.clone()).or_default().insert(link);
            }
        }
    }

    /// Brings links up again, all where none is named.
    pub fn bring_up(&mut self, node: &Node, gpu: &Gpu, links: &[u32]) {
        for link in named(gpu, links) {
            for (end, link) in ends(node, gpu, link) {
                if let Some(links) = self.0.get_mut(&end.uuid) {
                    links.remove(&link);
                }
            }
        }
        self.0.retain(|_, links| !links.is_empty());
    }

    /// Brings all up: the driver was loaded anew.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

fn named(gpu: &Gpu, links: &[u32]) -> Vec<u32> {
    if links.is_empty() {
        (0..u32::try_from(gpu.links.len()).unwrap_or(u32::MAX)).collect()
    } else {
        links.to_vec()
    }
}

/// A link at its GPU, and at the other one if it leads to one: the n-th between two GPUs is the n-th at both.
fn ends<'a>(node: &'a Node, gpu: &'a Gpu, link: u32) -> Vec<(&'a Gpu, u32)> {
    let to = |from: &Gpu, to: usize| -> Vec<u32> {
        let links = (0..).zip(&from.links).filter(|(_, link)| **link == Link::Gpu(to));
        links.map(|(number, _)| number).collect()
    };
    let mut ends = vec![(gpu, link)];
    if let Some(Link::Gpu(other)) = gpu.links.get(link as usize)
        && let Some(other) = node.at_place(*other)
        && let Some(place) = to(gpu, other.place).iter().position(|number| *number == link)
        && let Some(back) = to(other, gpu.place).get(place)
    {
        ends.push((other, *back));
    }
    ends
}
