//! GPUs that a driver lets go of: draining ones, which no new program sees, and removed ones, which nobody sees until they
//! are discovered again. It knows UUIDs and the rules of both, not who asks.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::modes::Modes;
use crate::node::{Gpu, Node};
use crate::pci::PciAddress;
use crate::state::State;

/// Draining and removed GPUs, by UUID.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Drains {
    /// Those that take no new programs.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub draining: BTreeSet<String>,
    /// Those that are gone, and what became of their PCI device.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub removed: BTreeMap<String, PciDevice>,
    /// The newest times that the driver let go of a GPU or took one, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bindings: Vec<Binding>,
}

/// The driver let go of a GPU, or took one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Binding {
    /// Its number; later ones have higher ones, the first has 1.
    pub number: u64,
    /// Where the GPU is.
    pub pci: PciAddress,
    /// Which of the two.
    pub change: BindingChange,
}

/// What the driver did; numbers are `nvmlSystemEventTypeGpuDriver…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BindingChange {
    /// It let go of a GPU.
    Unbind = 1,
    /// It took one.
    Bind = 2,
}

impl BindingChange {
    /// Its bit among the kinds of system events.
    pub fn bit(self) -> u64 {
        self as u64
    }
}

/// Bindings kept for those who have not read them yet.
const KEPT: usize = 64;

/// What becomes of the PCI device of a GPU that its driver lets go of: `nvmlDetachGpuState_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PciDevice {
    /// The operating system keeps it.
    Kept = 0,
    /// It is gone from there too.
    Removed = 1,
}

impl Drains {
    /// Whether a GPU is removed.
    pub fn is_removed(&self, uuid: &str) -> bool {
        self.removed.contains_key(uuid)
    }

    /// The number of the newest binding, 0 before the first.
    pub fn last_binding(&self) -> u64 {
        self.bindings.last().map_or(0, |binding| binding.number)
    }

    fn tell(&mut self, pci: PciAddress, change: BindingChange) {
        self.bindings.push(Binding { number: self.last_binding() + 1, pci, change });
        let excess = self.bindings.len().saturating_sub(KEPT);
        self.bindings.drain(..excess);
    }
}

/// The part of the PCI tree in which GPUs are looked for: with all zeros the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciPart {
    /// The domain.
    pub domain: u32,
    /// The bus.
    pub bus: u32,
    /// The device on the bus.
    pub device: u32,
}

impl PciPart {
    /// Everything.
    pub const WHOLE: PciPart = PciPart { domain: 0, bus: 0, device: 0 };

    /// The address of one device.
    pub fn of(pci: PciAddress) -> PciPart {
        PciPart { domain: pci.domain, bus: pci.bus.into(), device: pci.device.into() }
    }

    /// Whether it is a GPU's own address.
    pub fn is_of(self, pci: PciAddress) -> bool {
        self == PciPart::of(pci)
    }

    fn contains(self, pci: PciAddress) -> bool {
        self == PciPart::WHOLE || self.is_of(pci)
    }
}

/// Why the driver does not let go of a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DrainError {
    /// It is kept ready for programs.
    #[error(
        "GPU {gpu} is in persistence mode: turn that off first, by `nvml-sim set --gpu {gpu} persistence-mode=off` or in a \
         node file by `{{set: {{persistence-mode: off}}, gpu: {gpu}}}`"
    )]
    Persistent {
        /// Its index.
        gpu: usize,
    },
    /// New programs still come to it.
    #[error(
        "GPU {gpu} does not drain: let it first, by `nvml-sim drain --gpu {gpu}` or in a node file by `{{drain: true, gpu: \
         {gpu}}}`"
    )]
    NotDraining {
        /// Its index.
        gpu: usize,
    },
    /// Programs run on it.
    #[error("GPU {gpu} is in use: `nvml-sim process list` shows who runs there")]
    InUse {
        /// Its index.
        gpu: usize,
    },
    /// The driver let go of it before.
    #[error("GPU {gpu} is removed; `nvml-sim discover` finds it again")]
    Removed {
        /// Its index.
        gpu: usize,
    },
}

impl State {
    /// Lets a GPU take no new programs, or take them again. Persistence mode keeps it from draining, as documented.
    pub fn drain(&mut self, gpu: &Gpu, on: bool) -> Result<(), DrainError> {
        if self.drains.is_removed(&gpu.uuid) {
            return Err(DrainError::Removed { gpu: gpu.index });
        }
        if !on {
            self.drains.draining.remove(&gpu.uuid);
            return Ok(());
        }
        if self.modes_of(gpu).persistence_mode {
            return Err(DrainError::Persistent { gpu: gpu.index });
        }
        self.drains.draining.insert(gpu.uuid.clone());
        Ok(())
    }

    /// Removes a GPU that drains and that nobody uses.
    pub fn remove_gpu(&mut self, gpu: &Gpu, device: PciDevice) -> Result<(), DrainError> {
        let index = gpu.index;
        if self.drains.is_removed(&gpu.uuid) {
            return Err(DrainError::Removed { gpu: index });
        }
        if !self.drains.draining.contains(&gpu.uuid) {
            return Err(DrainError::NotDraining { gpu: index });
        }
        if self.modes_of(gpu).persistence_mode {
            return Err(DrainError::Persistent { gpu: index });
        }
        if self.processes.of(&gpu.uuid).next().is_some() {
            return Err(DrainError::InUse { gpu: index });
        }
        self.begin_anew(gpu);
        self.drains.removed.insert(gpu.uuid.clone(), device);
        self.drains.tell(gpu.pci, BindingChange::Unbind);
        Ok(())
    }

    /// Looks for removed GPUs in a part of the PCI tree. Those that are found begin anew, and nobody keeps them in
    /// persistence mode; one that is lost is not found.
    pub fn discover_gpus(&mut self, node: &Node, part: PciPart) {
        for gpu in node.all().filter(|gpu| part.contains(gpu.pci)) {
            if !self.lost.contains(&gpu.uuid) && self.drains.removed.remove(&gpu.uuid).is_some() {
                self.drains.draining.remove(&gpu.uuid);
                self.drains.tell(gpu.pci, BindingChange::Bind);
            }
        }
    }

    /// A load of the driver takes all GPUs whose PCI devices are there. The others still take no programs.
    pub(crate) fn end_drains(&mut self) {
        let Drains { draining, removed, .. } = &mut self.drains;
        removed.retain(|_, device| *device == PciDevice::Removed);
        draining.retain(|uuid| removed.contains_key(uuid));
    }

    /// What the driver keeps of a GPU is gone; what its InfoROM keeps is not.
    fn begin_anew(&mut self, gpu: &Gpu) {
        *self.modes_of(gpu) = Modes { persistence_mode: false, ..Modes::initial() };
        self.switches.gpus.remove(&gpu.uuid);
        self.recovery.remove(&gpu.uuid);
        self.mig.reload(gpu);
        self.reset_memory(gpu);
    }
}
