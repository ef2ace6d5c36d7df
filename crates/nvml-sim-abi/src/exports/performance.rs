//! Performance levels as text, and what watches over clocks.

use nvml_sim::{Architecture, Code};
use nvml_wrapper_sys::bindings::*;

use super::{exports, gpu};
use crate::from_c::text_array;

/// `MAX_CLK_DOMAINS`.
const CLOCK_DOMAINS: usize = 32;

exports! {
    fn nvmlDeviceGetPerformanceModes(device: nvmlDevice_t, modes: *mut nvmlDevicePerfModes_t) => |call| {
        let version = modes.expect_version(1)?;
        let text = gpu(call, &device)?.performance_modes();
        modes.put(nvmlDevicePerfModes_t { version, str_: text_array(&text) })
    };
    fn nvmlDeviceGetCurrentClockFreqs(device: nvmlDevice_t, clocks: *mut nvmlDeviceCurrentClockFreqs_t) => |call| {
        let version = clocks.expect_version(1)?;
        let text = gpu(call, &device)?.current_clocks();
        clocks.put(nvmlDeviceCurrentClockFreqs_t { version, str_: text_array(&text) })
    };
    // Clocks of a simulated GPU have no faults.
    fn nvmlDeviceGetClkMonStatus(device: nvmlDevice_t, status: *mut nvmlClkMonStatus_t) => |call| {
        let view = gpu(call, &device)?;
        status.present()?;
        if view.gpu.model.architecture < Architecture::Ampere {
            return Err(Code::NOT_SUPPORTED);
        }
        call.needs_root()?;
        let none = nvmlClkMonFaultInfo_t { clkApiDomain: 0, clkDomainFaultMask: 0 };
        status.put(nvmlClkMonStatus_t { bGlobalStatus: 0, clkMonListSize: 0, clkMonList: [none; CLOCK_DOMAINS] })
    };
}
