//! One consistent look at the node: what was declared and what happened to it, of one generation. It decides
//! which GPUs can be asked at all.

use std::sync::Arc;

use crate::code::Code;
use crate::identity;
use crate::loss::Loss;
use crate::node::{Gpu, Node};
use crate::overrides::Overrides;
use crate::pci::PciAddress;
use crate::state::State;

/// A consistent look at the node.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The node as declared when the driver was loaded, with the GPUs that are seen.
    pub node: Arc<Node>,
    /// What happened since.
    pub state: Arc<State>,
}

/// A GPU that answers.
#[derive(Clone, Copy, Debug)]
pub struct GpuView<'a> {
    /// The look that it belongs to.
    pub snapshot: &'a Snapshot,
    /// The GPU as declared.
    pub gpu: &'a Gpu,
}

impl Snapshot {
    /// The GPU at an index: NVML hands out the handle of a lost one too, unless it has fallen off the bus.
    pub fn by_index(&self, index: usize) -> Result<&Gpu, Code> {
        self.on_the_bus(self.node.gpus.get(index))
    }

    /// The GPU at a place of the node file, whether it is seen or not.
    pub fn by_place(&self, place: usize) -> Result<&Gpu, Code> {
        self.on_the_bus(self.node.at_place(place))
    }

    fn on_the_bus<'a>(&self, gpu: Option<&'a Gpu>) -> Result<&'a Gpu, Code> {
        let gpu = gpu.ok_or(Code::INVALID_ARGUMENT)?;
        match self.state.lost.how(&gpu.uuid) {
            Some(Loss::OffBus) => Err(Code::GPU_IS_LOST),
            Some(Loss::Lost) | None => Ok(gpu),
        }
    }

    /// The GPU of a UUID.
    pub fn by_uuid(&self, uuid: &str) -> Result<&Gpu, Code> {
        self.first(|gpu| gpu.uuid == uuid)
    }

    /// The GPU of a UUID's sixteen bytes.
    pub fn by_uuid_bytes(&self, uuid: [u8; 16]) -> Result<&Gpu, Code> {
        self.first(|gpu| identity::uuid_bytes(&gpu.uuid) == Some(uuid))
    }

    /// The GPU of a serial number, if its board tells that.
    pub fn by_serial(&self, serial: &str) -> Result<&Gpu, Code> {
        self.first(|gpu| gpu.model.board_numbers && gpu.serial == serial)
    }

    /// The GPU at a PCI address, in any of the forms that NVML takes.
    pub fn by_pci(&self, text: &str) -> Result<&Gpu, Code> {
        let address: PciAddress = text.parse().map_err(|_| Code::INVALID_ARGUMENT)?;
        self.first(|gpu| gpu.pci == address)
    }

    /// The GPU, unless it is removed or lost.
    pub fn view<'a>(&'a self, gpu: &'a Gpu) -> Result<GpuView<'a>, Code> {
        if self.state.drains.is_removed(&gpu.uuid) {
            return Err(Code::INVALID_ARGUMENT);
        }
        if self.state.lost.contains(&gpu.uuid) {
            return Err(Code::GPU_IS_LOST);
        }
        Ok(GpuView { snapshot: self, gpu })
    }

    /// The driver keeps no UUID or address of a GPU that it cannot reach, so a lost one is not found by them.
    fn first(&self, wanted: impl Fn(&Gpu) -> bool) -> Result<&Gpu, Code> {
        let gpu = self.node.gpus.iter().find(|gpu| wanted(gpu)).ok_or(Code::NOT_FOUND)?;
        self.view(gpu).map(|_| gpu)
    }
}

impl<'a> GpuView<'a> {
    /// Readings that were set for this GPU.
    pub fn overrides(&self) -> Option<&'a Overrides> {
        self.snapshot.state.overrides.get(&self.gpu.uuid)
    }
}
