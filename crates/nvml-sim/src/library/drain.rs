//! Draining, removing and discovering GPUs, which are named by their place in the PCI tree: a program that sees a draining GPU
//! no more can remove it all the same. Only root may; the rules are the state's.

use super::{Call, Library};
use crate::code::Code;
use crate::drain::{PciDevice, PciPart};
use crate::node::{Gpu, Node};

impl Call<'_> {
    /// The GPU at an address, draining or lost, unless it is removed.
    pub fn gpu_at(&self, address: PciPart) -> Result<&Gpu, Code> {
        let snapshot = self.snapshot()?;
        let gpu = snapshot.node.at_address(address).ok_or(Code::INVALID_ARGUMENT)?;
        if snapshot.state.drains.is_removed(&gpu.uuid) { Err(Code::INVALID_ARGUMENT) } else { Ok(gpu) }
    }

    /// `nvmlDeviceQueryDrainState`.
    pub fn is_draining(&self, address: PciPart) -> Result<bool, Code> {
        let gpu = self.gpu_at(address)?;
        Ok(self.snapshot()?.state.drains.draining.contains(&gpu.uuid))
    }
}

impl Library {
    /// `nvmlDeviceModifyDrainState`.
    pub fn drain(&self, gpu: &Gpu, on: bool) -> Result<(), Code> {
        self.change(|state| state.drain(gpu, on).map_err(|_| Code::IN_USE))
    }

    /// `nvmlDeviceRemoveGpu_v2`.
    pub fn remove_gpu(&self, gpu: &Gpu, device: PciDevice) -> Result<(), Code> {
        self.change(|state| state.remove_gpu(gpu, device).map_err(|_| Code::IN_USE))
    }

    /// `nvmlDeviceDiscoverGpus`. That there is nothing to find is no error.
    pub fn discover_gpus(&self, node: &Node, part: PciPart) -> Result<(), Code> {
        self.change(|state| {
            state.discover_gpus(node, part);
            Ok(())
        })
    }
}
