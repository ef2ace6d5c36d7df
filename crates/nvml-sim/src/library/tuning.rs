//! Limits, clocks and fans that programs set: modes of a GPU until the driver is loaded anew. It knows which call changes
//! which mode, not what may be asked for.

use super::Library;
use crate::code::Code;
use crate::fans::FAN_RANGE;
use crate::modes::Modes;
use crate::snapshot::GpuView;

impl Library {
    /// Changes modes of a GPU, which only root may.
    fn tune(&self, gpu: GpuView<'_>, change: impl FnOnce(&mut Modes)) -> Result<(), Code> {
        self.change(|state| {
            if state.lost.contains(&gpu.gpu.uuid) {
                return Err(Code::GPU_IS_LOST);
            }
            change(state.modes_of(gpu.gpu));
            Ok(())
        })
    }

    /// `nvmlDeviceSetPowerManagementLimit`.
    pub fn set_power_limit(&self, gpu: GpuView<'_>, milliwatts: u32) -> Result<(), Code> {
        let limit = gpu.power_limit(milliwatts)?;
        self.tune(gpu, |modes| modes.power_limit_milliwatts = Some(limit))
    }

    /// `nvmlDeviceSetGpuLockedClocks`.
    pub fn lock_graphics_clocks(&self, gpu: GpuView<'_>, low: u32, high: u32) -> Result<(), Code> {
        let range = gpu.graphics_lock(low, high)?;
        self.tune(gpu, |modes| modes.locked_graphics = range)
    }

    /// `nvmlDeviceResetGpuLockedClocks`.
    pub fn unlock_graphics_clocks(&self, gpu: GpuView<'_>) -> Result<(), Code> {
        self.tune(gpu, |modes| modes.locked_graphics = None)
    }

    /// `nvmlDeviceSetMemoryLockedClocks`.
    pub fn lock_memory_clocks(&self, gpu: GpuView<'_>, low: u32, high: u32) -> Result<(), Code> {
        let range = gpu.memory_lock(low, high)?;
        self.tune(gpu, |modes| modes.locked_memory = Some(range))
    }

    /// `nvmlDeviceResetMemoryLockedClocks`.
    pub fn unlock_memory_clocks(&self, gpu: GpuView<'_>) -> Result<(), Code> {
        gpu.memory_lock(0, 0)?;
        self.tune(gpu, |modes| modes.locked_memory = None)
    }

    /// `nvmlDeviceSetApplicationsClocks`.
    pub fn set_application_clocks(&self, gpu: GpuView<'_>, memory: u32, graphics: u32) -> Result<(), Code> {
        let clocks = gpu.application_clocks(memory, graphics)?;
        self.tune(gpu, |modes| modes.application_clocks = Some(clocks))
    }

    /// `nvmlDeviceResetApplicationsClocks`.
    pub fn reset_application_clocks(&self, gpu: GpuView<'_>) -> Result<(), Code> {
        self.tune(gpu, |modes| modes.application_clocks = None)
    }

    /// `nvmlDeviceSetFanSpeed_v2`.
    pub fn set_fan(&self, gpu: GpuView<'_>, fan: u32, percent: u32) -> Result<(), Code> {
        let fan = gpu.fan(fan)?;
        let (low, high) = FAN_RANGE;
        if !(low..=high).contains(&percent) {
            return Err(Code::INVALID_ARGUMENT);
        }
        self.tune(gpu, |modes| {
            modes.fan_percents.insert(fan, percent);
        })
    }

    /// `nvmlDeviceSetDefaultFanSpeed_v2`.
    pub fn reset_fan(&self, gpu: GpuView<'_>, fan: u32) -> Result<(), Code> {
        let fan = gpu.fan(fan)?;
        self.tune(gpu, |modes| {
            modes.fan_percents.remove(&fan);
        })
    }

    /// `nvmlDeviceSetFanControlPolicy`: by hand a fan keeps the speed that it has.
    pub fn set_fan_policy(&self, gpu: GpuView<'_>, fan: u32, policy: u32) -> Result<(), Code> {
        match policy {
            0 => self.reset_fan(gpu, fan),
            1 => self.set_fan(gpu, fan, gpu.fan_percent(fan)?),
            _ => Err(Code::INVALID_ARGUMENT),
        }
    }

    /// `nvmlGpmSetStreamingEnabled`.
    pub fn set_gpm_streaming(&self, gpu: GpuView<'_>, on: u32) -> Result<(), Code> {
        gpu.needs_gpm()?;
        match on {
            0 | 1 => self.tune(gpu, |modes| modes.gpm_streaming = on == 1),
            _ => Err(Code::INVALID_ARGUMENT),
        }
    }
}
