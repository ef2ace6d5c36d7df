//! Switches that programs change through NVML. Only root may; it checks what the switch takes.

use super::Library;
use crate::code::Code;
use crate::snapshot::{GpuView, Snapshot};
use crate::switches::{GpuSwitches, NVLINK_BANDWIDTHS, NVLINK_SLEEP};

/// The time by which a program gives the choice back to the driver (`NVML_NVLINK_LOW_POWER_THRESHOLD_RESET`).
const NVLINK_SLEEP_RESET: u32 = u32::MAX;
/// The longest host name, its end apart (`NVML_DEVICE_HOSTNAME_BUFFER_SIZE`).
const HOSTNAME_MAX: usize = 63;

impl Library {
    fn switch(&self, gpu: GpuView<'_>, change: impl FnOnce(&mut GpuSwitches)) -> Result<(), Code> {
        self.change(|state| {
            change(state.switches.of(&gpu.gpu.uuid));
            Ok(())
        })
    }

    /// `nvmlDeviceSetAPIRestriction` of application clocks.
    pub fn restrict_application_clocks(&self, gpu: GpuView<'_>, to_root: bool) -> Result<(), Code> {
        self.switch(gpu, |switches| switches.application_clocks_for_all = !to_root)
    }

    /// `nvmlDeviceSetNvLinkDeviceLowPowerThreshold`.
    pub fn set_nvlink_sleep(&self, gpu: GpuView<'_>, after: u32) -> Result<(), Code> {
        gpu.nvlink_sleep()?;
        if after != NVLINK_SLEEP_RESET && !NVLINK_SLEEP.contains(&after) {
            return Err(Code::INVALID_ARGUMENT);
        }
        self.switch(gpu, |switches| {
            switches.nvlink_sleep = (after != NVLINK_SLEEP_RESET).then_some(after);
        })
    }

    /// `nvmlDeviceSetNvlinkBwMode`; nothing for the best one.
    pub fn set_nvlink_bandwidth(&self, gpu: GpuView<'_>, mode: Option<u8>) -> Result<(), Code> {
        gpu.nvlink_bandwidth()?;
        if mode.is_some_and(|mode| !NVLINK_BANDWIDTHS.contains(&mode.into())) {
            return Err(Code::INVALID_ARGUMENT);
        }
        self.switch(gpu, |switches| switches.nvlink_bandwidth = mode)
    }

    /// `nvmlSystemSetNvlinkBwMode`.
    pub fn set_system_nvlink_bandwidth(&self, snapshot: &Snapshot, mode: u32) -> Result<(), Code> {
        snapshot.nvlink_bandwidth()?;
        if !NVLINK_BANDWIDTHS.contains(&mode) {
            return Err(Code::INVALID_ARGUMENT);
        }
        self.change(|state| {
            state.switches.nvlink_bandwidth = Some(mode);
            Ok(())
        })
    }

    /// `nvmlDeviceSetHostname`.
    pub fn set_hostname(&self, gpu: GpuView<'_>, name: &str) -> Result<(), Code> {
        gpu.hostname()?;
        let is_right = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
        if name.len() > HOSTNAME_MAX || !name.bytes().all(is_right) {
            return Err(Code::INVALID_ARGUMENT);
        }
        self.switch(gpu, |switches| switches.hostname = Some(name.to_owned()))
    }
}
