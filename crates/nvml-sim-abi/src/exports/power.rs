//! Power, energy and the PCIe link.

use nvml_sim::{Code, Direction};
use nvml_wrapper_sys::bindings::*;

use super::{exports, gpu};

/// `nvmlPowerScopeType_t`: the GPU alone.
const SCOPE_GPU: nvmlPowerScopeType_t = 0;
/// `nvmlPowerSource_t`: not a battery.
const SOURCE_AC: u32 = 0;
/// `nvmlPcieUtilCounter_t`.
const PCIE_TX: u32 = 0;
const PCIE_RX: u32 = 1;
/// MB/s of one lane in each PCIe generation from the first.
const PCIE_MBPS: [u32; 6] = [2500, 5000, 8000, 16000, 32000, 64000];

exports! {
    fn nvmlDeviceGetPowerUsage(device: nvmlDevice_t, milliwatts: *mut u32) => |call| {
        milliwatts.put(gpu(call, &device)?.power_usage_milliwatts())
    };
    fn nvmlDeviceGetPowerSource(device: nvmlDevice_t, source: *mut nvmlPowerSource_t) => |call| {
        gpu(call, &device)?;
        source.put(SOURCE_AC)
    };
    fn nvmlDeviceGetPowerManagementLimit(device: nvmlDevice_t, milliwatts: *mut u32) => |call| {
        milliwatts.put(gpu(call, &device)?.power_limit_milliwatts())
    };
    fn nvmlDeviceGetEnforcedPowerLimit(device: nvmlDevice_t, milliwatts: *mut u32) => |call| {
        milliwatts.put(gpu(call, &device)?.power_limit_milliwatts())
    };
    fn nvmlDeviceGetPowerManagementLimitConstraints(device: nvmlDevice_t, low: *mut u32, high: *mut u32) => |call| {
        let (least, most) = gpu(call, &device)?.power_limits_milliwatts();
        high.present()?;
        low.put(least)?;
        high.put(most)
    };
    fn nvmlDeviceSetPowerManagementLimit(device: nvmlDevice_t, milliwatts: u32) => |call| {
        call.library.set_power_limit(gpu(call, &device)?, milliwatts)
    };
    // The scope of a whole module is only there where GPU and CPU share one.
    fn nvmlDeviceSetPowerManagementLimit_v2(device: nvmlDevice_t, power: *mut nvmlPowerValue_v2_t) => |call| {
        power.expect_version(2)?;
        let view = gpu(call, &device)?;
        let nvmlPowerValue_v2_t { powerScope, powerValueMw, .. } = power.get()?;
        if powerScope != SCOPE_GPU {
            return Err(Code::NOT_SUPPORTED);
        }
        call.library.set_power_limit(view, powerValueMw)
    };
    fn nvmlDeviceGetPowerState(device: nvmlDevice_t, state: *mut u32) => |call| {
        state.put(gpu(call, &device)?.performance_state())
    };
    fn nvmlDeviceGetPerformanceState(device: nvmlDevice_t, state: *mut u32) => |call| {
        state.put(gpu(call, &device)?.performance_state())
    };
    fn nvmlDeviceGetCurrPcieLinkGeneration(device: nvmlDevice_t, generation: *mut u32) => |call| {
        generation.put(gpu(call, &device)?.pcie_generation())
    };
    fn nvmlDeviceGetPcieThroughput(device: nvmlDevice_t, counter: u32, kbps: *mut u32) => |call| {
        let view = gpu(call, &device)?;
        match counter {
            PCIE_TX => kbps.put(view.pcie_throughput(Direction::Tx)),
            PCIE_RX => kbps.put(view.pcie_throughput(Direction::Rx)),
            _ => Err(Code::INVALID_ARGUMENT),
        }
    };
    fn nvmlDeviceGetPowerManagementMode(device: nvmlDevice_t, mode: *mut u32) => |call| {
        gpu(call, &device)?;
        mode.put(1)
    };
    fn nvmlDeviceGetPowerManagementDefaultLimit(device: nvmlDevice_t, milliwatts: *mut u32) => |call| {
        milliwatts.put(gpu(call, &device)?.gpu.model.power_limit_watts * 1000)
    };
    fn nvmlDeviceGetTotalEnergyConsumption(device: nvmlDevice_t, millijoules: *mut u64) => |call| {
        millijoules.put(gpu(call, &device)?.energy_millijoules())
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
    fn nvmlDeviceGetPcieReplayCounter(device: nvmlDevice_t, count: *mut u32) => |call| {
        count.put(gpu(call, &device)?.pcie_replays())
    };
}
