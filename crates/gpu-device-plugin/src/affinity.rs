//! How well two GPUs work together, as one number per pair. Pure: topology in, matrix out.
//!
//! The figures are those that users of NVIDIA's plugin have tuned to: 100 per NVLink, and 10 to 60 for
//! how near two GPUs are on PCIe. GPUs on an NVSwitch reach each other over all their switch links, which
//! that plugin counts as none.

use gpu_model::{CommonAncestor, GpuUuid, Topology};

/// Worth of one NVLink between two GPUs; more than any nearness.
const NVLINK: u32 = 100;

/// Pairwise worth of some GPUs, by position in the list that it was built from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affinity {
    size: usize,
    worth: Vec<u32>,
}

/// How well a node's GPUs work together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeAffinity {
    gpus: Vec<GpuUuid>,
    all: Affinity,
}

impl NodeAffinity {
    /// That of `gpus` on `topology`.
    pub fn of(gpus: Vec<GpuUuid>, topology: &Topology) -> Self {
        let all = Affinity::of(&gpus, topology);
        Self { gpus, all }
    }

    /// That of `gpus` by a matrix of them.
    #[cfg(test)]
    pub fn from_matrix(gpus: Vec<GpuUuid>, all: Affinity) -> Self {
        Self { gpus, all }
    }

    /// Whether it knows no GPU, as before the topology is known.
    pub fn is_empty(&self) -> bool {
        self.gpus.is_empty()
    }

    /// The matrix of these GPUs. Those that it does not know are worth nothing to any other.
    pub fn among<'a>(&self, gpus: impl Iterator<Item = &'a GpuUuid>) -> Affinity {
        let rows: Vec<usize> =
            gpus.map(|gpu| self.gpus.iter().position(|known| known == gpu).unwrap_or(usize::MAX)).collect();
        Affinity::from_fn(rows.len(), |a, b| self.all.worth(rows[a], rows[b]))
    }
}

impl Affinity {
    /// The matrix of `gpus` on `topology`. Pairs that the topology does not know are worth nothing.
    pub fn of(gpus: &[GpuUuid], topology: &Topology) -> Self {
        Self::from_fn(gpus.len(), |a, b| worth(&gpus[a], &gpus[b], topology))
    }

    /// The matrix of `size` GPUs with `worth(a, b)` for each `a < b`.
    pub fn from_fn(size: usize, worth: impl Fn(usize, usize) -> u32) -> Self {
        let cell = |at: usize| match (at / size, at % size) {
            (a, b) if a == b => 0,
            (a, b) => worth(a.min(b), a.max(b)),
        };
        Self { size, worth: (0..size * size).map(cell).collect() }
    }

    /// The same without the NVLinks of some GPUs: what is left of their pairs is how near they are.
    pub fn without_links(self, of: impl Fn(usize) -> bool) -> Self {
        let of: Vec<bool> = (0..self.size).map(of).collect();
        if !of.contains(&true) {
            return self;
        }
        Self::from_fn(self.size, |a, b| match of[a] || of[b] {
            true => self.worth(a, b) % NVLINK,
            false => self.worth(a, b),
        })
    }

    /// Number of GPUs in the matrix.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.size
    }

    /// Worth of the pair; 0 outside the matrix and of a GPU with itself.
    pub fn worth(&self, a: usize, b: usize) -> u32 {
        if a < self.size && b < self.size { self.worth[a * self.size + b] } else { 0 }
    }
}

fn worth(a: &GpuUuid, b: &GpuUuid, topology: &Topology) -> u32 {
    let switched = |gpu: &GpuUuid| {
        topology.gpus.get(gpu).and_then(|place| place.nvswitch_links.value()).copied().unwrap_or(0)
    };
    let through_switch = switched(a).min(switched(b));
    let (near, direct) = topology.link(a, b).map_or((0, 0), |link| (nearness(link.ancestor), link.nvlinks));
    // A bound on what a driver may claim keeps the sums far from overflow.
    near + NVLINK * (direct.min(64) + through_switch.min(64))
}

fn nearness(ancestor: CommonAncestor) -> u32 {
    match ancestor {
        CommonAncestor::SameBoard => 60,
        CommonAncestor::SinglePcieSwitch => 50,
        CommonAncestor::MultiplePcieSwitches => 40,
        CommonAncestor::HostBridge => 30,
        CommonAncestor::NumaNode => 20,
        CommonAncestor::System => 10,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use gpu_model::{GpuLink, GpuPlace, Reading};

    use super::*;

    fn gpu(n: u8) -> GpuUuid {
        format!("GPU-00000000-0000-0000-0000-0000000000{n:02x}").parse().unwrap()
    }

    #[test]
    fn worth_adds_nvlinks_to_nearness_and_is_symmetric() {
        let link = GpuLink { ancestor: CommonAncestor::SinglePcieSwitch, nvlinks: 2 };
        let topology = Topology { gpus: BTreeMap::new(), pairs: vec![(gpu(0), gpu(1), link)] };
        let affinity = Affinity::of(&[gpu(1), gpu(0), gpu(2)], &topology);
        assert_eq!((affinity.worth(0, 1), affinity.worth(1, 0)), (250, 250));
        assert_eq!((affinity.worth(0, 0), affinity.worth(0, 2), affinity.worth(0, 9)), (0, 0, 0));
    }

    #[test]
    fn gpus_on_an_nvswitch_are_joined_by_the_links_that_both_have() {
        let place = |links| GpuPlace { nvswitch_links: Reading::Value(links) };
        let gpus = BTreeMap::from([(gpu(0), place(12)), (gpu(1), place(10)), (gpu(2), place(0))]);
        let topology = Topology { gpus, pairs: Vec::new() };
        let affinity = Affinity::of(&[gpu(0), gpu(1), gpu(2)], &topology);
        assert_eq!((affinity.worth(0, 1), affinity.worth(0, 2)), (1000, 0));
    }

    #[test]
    fn choice_of_gpus_keeps_their_worth_and_a_stranger_has_none() {
        let link = GpuLink { ancestor: CommonAncestor::SinglePcieSwitch, nvlinks: 2 };
        let topology = Topology { gpus: BTreeMap::new(), pairs: vec![(gpu(0), gpu(1), link)] };
        let node = NodeAffinity::of(vec![gpu(0), gpu(1), gpu(2)], &topology);
        let some = node.among([gpu(9), gpu(1), gpu(0)].iter());
        assert_eq!((some.worth(1, 2), some.worth(0, 1), some.worth(0, 2)), (250, 0, 0));
        assert!(NodeAffinity::default().is_empty() && !node.is_empty());
    }
}
