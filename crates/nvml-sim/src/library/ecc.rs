//! The calls that switch ECC and clear error counters. It knows who may, not what a counter is.

use super::{Call, Library};
use crate::code::Code;
use crate::damage::CounterSpan;
use crate::snapshot::GpuView;

impl Library {
    /// `nvmlDeviceSetEccMode`, which only root may.
    pub fn set_ecc_mode(&self, gpu: GpuView<'_>, on: bool) -> Result<(), Code> {
        self.change(|state| state.set_ecc_mode(gpu.gpu, on))
    }

    /// `nvmlDeviceClearEccErrorCounts`, which only root may.
    pub fn clear_ecc_errors(&self, gpu: GpuView<'_>, span: CounterSpan) -> Result<(), Code> {
        self.change(|state| {
            if let Some(damage) = state.damage.get_mut(&gpu.gpu.uuid) {
                damage.clear_ecc(span);
            }
            Ok(())
        })
    }

    /// `nvmlDeviceResetNvLinkErrorCounters`, which only root may.
    pub fn clear_nvlink_errors(&self, gpu: GpuView<'_>, link: u32) -> Result<(), Code> {
        gpu.link(link)?;
        self.change(|state| {
            if let Some(damage) = state.damage.get_mut(&gpu.gpu.uuid) {
                damage.clear_link(link);
            }
            Ok(())
        })
    }
}

impl Library {
    /// Clears what a field counts, which only errors of NVLinks can be.
    pub fn clear_field(&self, gpu: GpuView<'_>, number: u32, scope: u32) -> Result<(), Code> {
        let (link, error) = gpu.link_error_of_field(number, scope)?;
        self.change(|state| {
            if let Some(damage) = state.damage.get_mut(&gpu.gpu.uuid) {
                damage.clear_link_error(link, error);
            }
            Ok(())
        })
    }
}

impl Call<'_> {
    /// Fails unless the caller is root, for the few readings that NVML keeps for it.
    pub fn needs_root(&self) -> Result<(), Code> {
        if rustix::process::geteuid().is_root() { Ok(()) } else { Err(Code::NO_PERMISSION) }
    }
}
