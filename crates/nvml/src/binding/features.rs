//! What a GPU can do and is set to, beyond what it is. A number that the header does not allow is no answer.

use std::ffi::c_uint;

use gpu_model::PcieLink;
use nvml_wrapper_sys::bindings as sys;

use super::{Driver, Failure, Gpu, raw};

/// Lanes that a PCI Express link can have (PCI Express Base Specification 6.0).
const WIDTHS: [u32; 7] = [1, 2, 4, 8, 12, 16, 32];

/// Beyond the generations of PCI Express that anybody has announced.
const GENERATIONS: std::ops::RangeInclusive<u32> = 1..=10;

/// More than any board draws: 100 kW.
const MAX_MILLIWATTS: u32 = 100_000_000;

impl Gpu<'_> {
    /// Whether its memory corrects errors, now.
    pub fn ecc(&self) -> Result<bool, Failure> {
        let (mut current, mut pending): (c_uint, c_uint) = (c_uint::MAX, c_uint::MAX);
        raw!(self, Query, nvmlDeviceGetEccMode(self.handle, &raw mut current, &raw mut pending))?;
        yes_or_no(current).ok_or_else(|| Failure::senseless("nvmlDeviceGetEccMode"))
    }

    /// The best PCI Express link that GPU and slot can have: two calls.
    pub fn pcie(&self) -> Result<PcieLink, Failure> {
        const GENERATION: &str = "nvmlDeviceGetMaxPcieLinkGeneration";
        const WIDTH: &str = "nvmlDeviceGetMaxPcieLinkWidth";
        let generation = self.get(GENERATION, |gpu| gpu.max_pcie_link_gen())?;
        if !GENERATIONS.contains(&generation) {
            return Err(Failure::senseless(GENERATION));
        }
        let width = self.get(WIDTH, |gpu| gpu.max_pcie_link_width())?;
        if !WIDTHS.contains(&width) {
            return Err(Failure::senseless(WIDTH));
        }
        Ok(PcieLink { generation, width })
    }

    /// The power limit in force, in milliwatts.
    pub fn power_limit_milliwatts(&self) -> Result<u32, Failure> {
        const CALL: &str = "nvmlDeviceGetEnforcedPowerLimit";
        let limit = self.get(CALL, |gpu| gpu.enforced_power_limit())?;
        if (1..=MAX_MILLIWATTS).contains(&limit) { Ok(limit) } else { Err(Failure::senseless(CALL)) }
    }

    /// Whether the firmware of its System Processor is in use.
    pub fn gsp(&self) -> Result<bool, Failure> {
        let (mut enabled, mut default): (c_uint, c_uint) = (c_uint::MAX, c_uint::MAX);
        raw!(self, Query, nvmlDeviceGetGspFirmwareMode(self.handle, &raw mut enabled, &raw mut default))?;
        yes_or_no(enabled).ok_or_else(|| Failure::senseless("nvmlDeviceGetGspFirmwareMode"))
    }
}

impl Driver<'_> {
    /// Whether the machine's confidential computing is on for its GPUs.
    pub fn confidential_compute(&self) -> Result<bool, Failure> {
        let mut state = sys::nvmlConfComputeSystemState_t {
            environment: c_uint::MAX,
            ccFeature: c_uint::MAX,
            devToolsMode: c_uint::MAX,
        };
        raw!(self, Query, nvmlSystemGetConfComputeState(&raw mut state))?;
        yes_or_no(state.ccFeature).ok_or_else(|| Failure::senseless("nvmlSystemGetConfComputeState"))
    }
}

fn yes_or_no(number: c_uint) -> Option<bool> {
    match number {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}
