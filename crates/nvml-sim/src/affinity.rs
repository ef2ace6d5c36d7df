//! Which CPUs and NUMA nodes are near a GPU. It knows masks, not how they are asked for.

use rustix::thread::{CpuSet, sched_setaffinity};

use crate::code::{Code, numbered};
use crate::node::Gpu;
use crate::snapshot::{GpuView, Snapshot};

/// As many CPUs as `nvmlDeviceSetCpuAffinity` knows, by NVML's documentation.
const CPUS_TO_BIND: u32 = 1024;

/// How near is near; numbers are `NVML_AFFINITY_SCOPE_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AffinityScope {
    /// The GPU's NUMA node.
    Node = 0,
    /// Its socket.
    Socket = 1,
}

impl AffinityScope {
    /// The scope of a number.
    pub fn from_number(number: u32) -> Result<AffinityScope, Code> {
        numbered(&[AffinityScope::Node, AffinityScope::Socket], number, |scope| scope as u32)
    }
}

impl GpuView<'_> {
    /// The near CPUs as a mask of `words` 64-bit words.
    pub fn cpu_affinity(&self, words: u32, scope: AffinityScope) -> Result<Vec<u64>, Code> {
        let mut mask = vec![0; checked(words)?];
        let near = self.near_nodes(scope);
        for list in near.iter().filter_map(|numa| self.snapshot.node.cpus.get(numa)) {
            for (word, more) in mask.iter_mut().zip(list.mask(words as usize)) {
                *word |= more;
            }
        }
        not_empty(mask)
    }

    /// The near NUMA nodes as a mask of `words` 64-bit words.
    pub fn memory_affinity(&self, words: u32, scope: AffinityScope) -> Result<Vec<u64>, Code> {
        let mut mask = vec![0; checked(words)?];
        for numa in self.near_nodes(scope) {
            if let Some(word) = mask.get_mut((numa / 64) as usize) {
                *word |= 1 << (numa % 64);
            }
        }
        not_empty(mask)
    }

    /// Binds the calling thread to the near CPUs. `UNKNOWN` where this machine has none of them.
    pub fn bind_thread(&self) -> Result<(), Code> {
        let near = self.cpu_affinity(CPUS_TO_BIND / 64, AffinityScope::Node)?;
        let mut cpus = CpuSet::new();
        for cpu in 0..CPUS_TO_BIND as usize {
            if near.get(cpu / 64).is_some_and(|word| word >> (cpu % 64) & 1 == 1) {
                cpus.set(cpu);
            }
        }
        sched_setaffinity(None, &cpus).map_err(|_| Code::UNKNOWN)
    }

    /// Lets the calling thread run on all CPUs.
    pub fn unbind_thread(&self) -> Result<(), Code> {
        let mut cpus = CpuSet::new();
        (0..CPUS_TO_BIND as usize).for_each(|cpu| cpus.set(cpu));
        sched_setaffinity(None, &cpus).map_err(|_| Code::UNKNOWN)
    }

    /// The GPU's NUMA node, or all of its socket.
    fn near_nodes(&self, scope: AffinityScope) -> Vec<u32> {
        match scope {
            AffinityScope::Node => self.gpu.numa.into_iter().collect(),
            AffinityScope::Socket => {
                let sockets = &self.snapshot.node.sockets;
                let own = |(numa, socket): (&u32, &u16)| (*socket == self.gpu.pcie.socket()).then_some(*numa);
                sockets.iter().filter_map(own).collect()
            }
        }
    }
}

impl Snapshot {
    /// The GPUs near a CPU.
    pub fn gpus_near_cpu(&self, cpu: u32) -> impl Iterator<Item = &Gpu> {
        let near = move |gpu: &&Gpu| {
            let list = gpu.numa.and_then(|numa| self.node.cpus.get(&numa));
            list.is_some_and(|list| list.contains(cpu))
        };
        self.node.gpus.iter().filter(near)
    }
}

/// A mask that says something: what lies beyond the caller's words is left out, and none is near nothing.
fn not_empty(mask: Vec<u64>) -> Result<Vec<u64>, Code> {
    if mask.iter().all(|word| *word == 0) { Err(Code::NOT_SUPPORTED) } else { Ok(mask) }
}

/// More words than any machine needs would only be a way to make us write much.
fn checked(words: u32) -> Result<usize, Code> {
    if (1..=1024).contains(&words) { Ok(words as usize) } else { Err(Code::INVALID_ARGUMENT) }
}
