//! Switches that programs change through NVML. Only root may; it checks what the switch takes.

use std::collections::BTreeSet;

use super::Library;
use crate::clocks::ClockKind;
use crate::code::Code;
use crate::desktop::POWER_MIZER_MODES;
use crate::power_profiles::ProfileChange;
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

    /// `nvmlDeviceSetClockOffsets`.
    pub fn set_clock_offset(
        &self,
        gpu: GpuView<'_>,
        kind: ClockKind,
        state: u32,
        mhz: i32,
    ) -> Result<(), Code> {
        let range = gpu.clock_offset(kind, state)?;
        if !(range.min..=range.max).contains(&mhz) {
            return Err(Code::INVALID_ARGUMENT);
        }
        self.switch(gpu, |switches| {
            let offsets = switches.clock_offsets.entry(state).or_default();
            match kind {
                ClockKind::Memory => offsets.memory = mhz,
                _ => offsets.graphics = mhz,
            }
        })
    }

    /// `nvmlDeviceSetPowerMizerMode_v1`.
    pub fn set_power_mizer(&self, gpu: GpuView<'_>, mode: u32) -> Result<(), Code> {
        gpu.power_mizer_mode()?;
        if !POWER_MIZER_MODES.contains(&mode) {
            return Err(Code::INVALID_ARGUMENT);
        }
        self.switch(gpu, |switches| switches.power_mizer = Some(mode))
    }

    /// `nvmlDeviceSetTemperatureThreshold` of the acoustic limit.
    pub fn set_acoustic_limit(&self, gpu: GpuView<'_>, celsius: i32) -> Result<(), Code> {
        let (low, _, high) = gpu.acoustic_limits()?;
        let wanted = u32::try_from(celsius).ok().filter(|wanted| (low..=high).contains(wanted));
        let wanted = wanted.ok_or(Code::INVALID_ARGUMENT)?;
        self.switch(gpu, |switches| switches.acoustic_celsius = Some(wanted))
    }

    /// `nvmlDeviceWorkloadPowerProfileUpdateProfiles_v1` and the two functions before it.
    pub fn change_power_profiles(
        &self,
        gpu: GpuView<'_>,
        change: ProfileChange,
        profiles: &BTreeSet<u32>,
    ) -> Result<(), Code> {
        let known: BTreeSet<u32> = gpu.power_profiles()?.iter().map(|profile| profile.id).collect();
        if !profiles.is_subset(&known) {
            return Err(Code::INVALID_ARGUMENT);
        }
        self.switch(gpu, |switches| switches.power_profiles = change.of(&switches.power_profiles, profiles))
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
