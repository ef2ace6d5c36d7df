//! What the parts of a GPU do at one moment of a load, in parts of a thousand. It knows no model's figures.

use crate::processes::{Percent, ProcessLoad};

/// An activity; all but `power_watts` in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Activity {
    /// Time that any kernel runs.
    pub busy: u32,
    /// Multiprocessors with work, over all of them and the time.
    pub sm: u32,
    /// Warps resident, of those that could be.
    pub occupancy: u32,
    /// Tensor cores.
    pub tensor: u32,
    /// Integer pipes.
    pub integer: u32,
    /// FP64 pipes.
    pub fp64: u32,
    /// FP32 pipes.
    pub fp32: u32,
    /// FP16 pipes.
    pub fp16: u32,
    /// Time that memory is read or written.
    pub dram: u32,
    /// Frame buffer in use, of what processes can use.
    pub memory_used: u32,
    /// PCIe bandwidth, to the machine.
    pub pcie_tx: u32,
    /// PCIe bandwidth, from the machine.
    pub pcie_rx: u32,
    /// Bandwidth of each NVLink, out.
    pub nvlink_tx: u32,
    /// Bandwidth of each NVLink, in.
    pub nvlink_rx: u32,
    /// Encoders.
    pub encoder: u32,
    /// Decoders.
    pub decoder: u32,
    /// JPEG decoders.
    pub jpeg: u32,
    /// Optical flow engine.
    pub ofa: u32,
    /// Watts drawn, where a recording says so.
    pub power_watts: Option<u32>,
}

/// Nothing runs.
pub const NOTHING: Activity = Activity {
    busy: 0,
    sm: 0,
    occupancy: 0,
    tensor: 0,
    integer: 0,
    fp64: 0,
    fp32: 0,
    fp16: 0,
    dram: 0,
    memory_used: 0,
    pcie_tx: 0,
    pcie_rx: 0,
    nvlink_tx: 0,
    nvlink_rx: 0,
    encoder: 0,
    decoder: 0,
    jpeg: 0,
    ofa: 0,
    power_watts: None,
};

impl Activity {
    /// How much of what a GPU can draw above idling this asks for. The weights are (assumed): tensor cores and
    /// multiprocessors draw most.
    pub fn intensity(&self) -> u32 {
        let media = self.encoder + self.decoder + self.jpeg + self.ofa;
        let sum = self.sm * 500 + self.tensor * 500 + self.fp64 * 300 + self.dram * 300 + media * 50;
        (sum / 1000).min(1000)
    }

    /// This beside what processes use.
    pub fn beside(self, processes: ProcessLoad) -> Activity {
        if processes == ProcessLoad::default() {
            return self;
        }
        let both = |own: u32, other: Percent| (own + other.number() * 10).min(1000);
        Activity {
            dram: both(self.dram, processes.memory_activity),
            encoder: both(self.encoder, processes.encoder),
            decoder: both(self.decoder, processes.decoder),
            ..self.with_busy(both(self.busy, processes.sm))
        }
    }

    /// The same work with another share of busy time.
    pub fn with_busy(self, busy: u32) -> Activity {
        if self.busy == 0 {
            return Activity { busy, sm: busy, occupancy: busy / 2, ..self };
        }
        let scaled = |part: u32| (part * busy / self.busy).min(1000);
        Activity {
            busy,
            sm: scaled(self.sm),
            occupancy: scaled(self.occupancy),
            tensor: scaled(self.tensor),
            integer: scaled(self.integer),
            fp64: scaled(self.fp64),
            fp32: scaled(self.fp32),
            fp16: scaled(self.fp16),
            ..self
        }
    }
}
