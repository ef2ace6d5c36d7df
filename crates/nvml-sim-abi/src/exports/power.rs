//! Power, clocks and the PCIe link.

use nvml_sim::{Code, GpuView};
use nvml_wrapper_sys::bindings::*;

use super::{exports, gpu};

/// `nvmlClockType_t`.
const GRAPHICS: u32 = 0;
const SM: u32 = 1;
const MEMORY: u32 = 2;
const VIDEO: u32 = 3;
/// `nvmlClockId_t`: current, and the highest that a customer may set.
const CLOCK_CURRENT: u32 = 0;
const CLOCK_CUSTOMER_MAX: u32 = 3;
/// `nvmlClocksEventReason…`: all that exist.
const REASONS: u64 = 0x1FF;
/// MB/s of one lane in each PCIe generation from the first.
const PCIE_MBPS: [u32; 6] = [2500, 5000, 8000, 16000, 32000, 64000];

fn clock_max(view: GpuView<'_>, kind: u32) -> Result<u32, Code> {
    match kind {
        GRAPHICS | SM => Ok(view.gpu.model.clock_graphics_mhz),
        MEMORY => Ok(view.gpu.model.clock_memory_mhz),
        VIDEO => Ok(view.gpu.model.clock_video_mhz),
        _ => Err(Code::INVALID_ARGUMENT),
    }
}

fn clock_now(view: GpuView<'_>, kind: u32) -> Result<u32, Code> {
    match kind {
        GRAPHICS | SM => Ok(view.clock_mhz(nvml_sim::ClockKind::Graphics)),
        kind => clock_max(view, kind),
    }
}

fn reasons(view: GpuView<'_>) -> u64 {
    view.throttle_reasons().bits()
}

exports! {
    fn nvmlDeviceGetPowerUsage(device: nvmlDevice_t, milliwatts: *mut u32) => |call| {
        milliwatts.put(gpu(call, &device)?.power_milliwatts())
    };
    fn nvmlDeviceGetPowerManagementMode(device: nvmlDevice_t, mode: *mut u32) => |call| {
        gpu(call, &device)?;
        mode.put(1)
    };
    fn nvmlDeviceGetPowerManagementLimit(device: nvmlDevice_t, milliwatts: *mut u32) => |call| {
        milliwatts.put(gpu(call, &device)?.gpu.model.power_limit_watts * 1000)
    };
    fn nvmlDeviceGetPowerManagementDefaultLimit(device: nvmlDevice_t, milliwatts: *mut u32) => |call| {
        milliwatts.put(gpu(call, &device)?.gpu.model.power_limit_watts * 1000)
    };
    fn nvmlDeviceGetEnforcedPowerLimit(device: nvmlDevice_t, milliwatts: *mut u32) => |call| {
        milliwatts.put(gpu(call, &device)?.gpu.model.power_limit_watts * 1000)
    };
    fn nvmlDeviceGetPowerManagementLimitConstraints(device: nvmlDevice_t, low: *mut u32, high: *mut u32) => |call| {
        let model = &gpu(call, &device)?.gpu.model;
        high.present()?;
        low.put(model.power_limit_min_watts * 1000)?;
        high.put(model.power_limit_watts * 1000)
    };
    fn nvmlDeviceGetTotalEnergyConsumption(device: nvmlDevice_t, millijoules: *mut u64) => |call| {
        millijoules.put(gpu(call, &device)?.energy_millijoules())
    };
    fn nvmlDeviceGetPowerState(device: nvmlDevice_t, state: *mut u32) => |call| {
        gpu(call, &device)?;
        state.put(0)
    };
    fn nvmlDeviceGetPerformanceState(device: nvmlDevice_t, state: *mut u32) => |call| {
        gpu(call, &device)?;
        state.put(0)
    };
    fn nvmlDeviceGetClockInfo(device: nvmlDevice_t, kind: u32, mhz: *mut u32) => |call| {
        mhz.put(clock_now(gpu(call, &device)?, kind)?)
    };
    fn nvmlDeviceGetMaxClockInfo(device: nvmlDevice_t, kind: u32, mhz: *mut u32) => |call| {
        mhz.put(clock_max(gpu(call, &device)?, kind)?)
    };
    fn nvmlDeviceGetMaxCustomerBoostClock(device: nvmlDevice_t, kind: u32, mhz: *mut u32) => |call| {
        mhz.put(clock_max(gpu(call, &device)?, kind)?)
    };
    fn nvmlDeviceGetClock(device: nvmlDevice_t, kind: u32, which: u32, mhz: *mut u32) => |call| {
        let view = gpu(call, &device)?;
        match which {
            CLOCK_CURRENT => mhz.put(clock_now(view, kind)?),
            1..=CLOCK_CUSTOMER_MAX => mhz.put(clock_max(view, kind)?),
            _ => Err(Code::INVALID_ARGUMENT),
        }
    };
    fn nvmlDeviceGetApplicationsClock(device: nvmlDevice_t, kind: u32, mhz: *mut u32) => |call| {
        mhz.put(clock_max(gpu(call, &device)?, kind)?)
    };
    fn nvmlDeviceGetDefaultApplicationsClock(device: nvmlDevice_t, kind: u32, mhz: *mut u32) => |call| {
        mhz.put(clock_max(gpu(call, &device)?, kind)?)
    };
    fn nvmlDeviceGetCurrentClocksThrottleReasons(device: nvmlDevice_t, mask: *mut u64) => |call| {
        mask.put(reasons(gpu(call, &device)?))
    };
    fn nvmlDeviceGetCurrentClocksEventReasons(device: nvmlDevice_t, mask: *mut u64) => |call| {
        mask.put(reasons(gpu(call, &device)?))
    };
    fn nvmlDeviceGetSupportedClocksThrottleReasons(device: nvmlDevice_t, mask: *mut u64) => |call| {
        gpu(call, &device)?;
        mask.put(REASONS)
    };
    fn nvmlDeviceGetSupportedClocksEventReasons(device: nvmlDevice_t, mask: *mut u64) => |call| {
        gpu(call, &device)?;
        mask.put(REASONS)
    };
    fn nvmlDeviceGetCurrPcieLinkGeneration(device: nvmlDevice_t, generation: *mut u32) => |call| {
        generation.put(gpu(call, &device)?.gpu.model.pcie_generation)
    };
    fn nvmlDeviceGetMaxPcieLinkGeneration(device: nvmlDevice_t, generation: *mut u32) => |call| {
        generation.put(gpu(call, &device)?.gpu.model.pcie_generation)
    };
    fn nvmlDeviceGetGpuMaxPcieLinkGeneration(device: nvmlDevice_t, generation: *mut u32) => |call| {
        generation.put(gpu(call, &device)?.gpu.model.pcie_generation)
    };
    fn nvmlDeviceGetCurrPcieLinkWidth(device: nvmlDevice_t, lanes: *mut u32) => |call| {
        lanes.put(gpu(call, &device)?.gpu.model.pcie_width)
    };
    fn nvmlDeviceGetMaxPcieLinkWidth(device: nvmlDevice_t, lanes: *mut u32) => |call| {
        lanes.put(gpu(call, &device)?.gpu.model.pcie_width)
    };
    // One number for each generation, not a speed.
    fn nvmlDeviceGetPcieLinkMaxSpeed(device: nvmlDevice_t, speed: *mut u32) => |call| {
        speed.put(gpu(call, &device)?.gpu.model.pcie_generation)
    };
    fn nvmlDeviceGetPcieSpeed(device: nvmlDevice_t, mbps: *mut u32) => |call| {
        let generation = gpu(call, &device)?.gpu.model.pcie_generation as usize;
        let speed = generation.checked_sub(1).and_then(|index| PCIE_MBPS.get(index));
        mbps.put(*speed.ok_or(Code::NOT_SUPPORTED)?)
    };
    fn nvmlDeviceGetPcieThroughput(device: nvmlDevice_t, counter: u32, kbps: *mut u32) => |call| {
        gpu(call, &device)?;
        if counter > 1 { Err(Code::INVALID_ARGUMENT) } else { kbps.put(0) }
    };
    fn nvmlDeviceGetPcieReplayCounter(device: nvmlDevice_t, count: *mut u32) => |call| {
        count.put(gpu(call, &device)?.pcie_replays())
    };
}
