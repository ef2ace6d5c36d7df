//! Modes of a GPU: persistence, compute, display, virtualisation, addressing, and the fabric.

use nvml_sim::{Code, ComputeMode};
use nvml_wrapper_sys::bindings::*;

use super::{device as device_of, exports, gpu};

/// `nvmlDeviceAddressingModeType_t`: no common address space with the CPU, or one by the hardware's translation.
const ADDRESSING_NONE: u32 = 0;
const ADDRESSING_ATS: u32 = 2;
/// `nvmlComputeMode_t`: one thread alone.
const EXCLUSIVE_THREAD: u32 = 1;
/// `nvmlGpuFabricState_t`: the GPU has joined its fabric.
const FABRIC_COMPLETED: u8 = 3;
/// Each part of the health mask says "no": nothing degraded, no route unhealthy, configuration as it should be.
const FABRIC_HEALTH_MASK: u32 = 0b10 | 0b10 << 2 | 0b10 << 4 | 0b10 << 6 | 1 << 8;
const FABRIC_HEALTHY: u8 = 1;
/// `nvmlGpuFabricInfo_v2_t` ends before the health summary.
const FABRIC_INFO_V2_BYTES: usize = size_of::<nvmlGpuFabricInfo_v2_t>();

exports! {
    fn nvmlDeviceGetPersistenceMode(device: nvmlDevice_t, mode: *mut u32) => |call| {
        mode.put(gpu(call, &device)?.persistence_mode().into())
    };
    fn nvmlDeviceSetPersistenceMode(device: nvmlDevice_t, mode: u32) => |call| {
        let view = gpu(call, &device)?;
        if mode > 1 { Err(Code::INVALID_ARGUMENT) } else { call.library.set_persistence_mode(view, mode == 1) }
    };
    fn nvmlDeviceGetComputeMode(device: nvmlDevice_t, mode: *mut u32) => |call| {
        // A MIG device has its GPU's (assumed).
        mode.put(device_of(call, &device)?.gpu().compute_mode() as u32)
    };
    // One thread alone, as mode 1 was, drivers can no longer do.
    fn nvmlDeviceSetComputeMode(device: nvmlDevice_t, mode: u32) => |call| {
        let view = gpu(call, &device)?;
        let modes = [ComputeMode::Default, ComputeMode::Prohibited, ComputeMode::ExclusiveProcess];
        match modes.into_iter().find(|known| *known as u32 == mode) {
            Some(mode) => call.library.set_compute_mode(view, mode),
            None if mode == EXCLUSIVE_THREAD => Err(Code::NOT_SUPPORTED),
            None => Err(Code::INVALID_ARGUMENT),
        }
    };
    fn nvmlDeviceGetDisplayMode(device: nvmlDevice_t, mode: *mut u32) => |call| {
        gpu(call, &device)?;
        mode.put(0)
    };
    fn nvmlDeviceGetDisplayActive(device: nvmlDevice_t, active: *mut u32) => |call| {
        gpu(call, &device)?;
        active.put(0)
    };
    fn nvmlDeviceGetVirtualizationMode(device: nvmlDevice_t, mode: *mut u32) => |call| {
        gpu(call, &device)?;
        mode.put(0)
    };
    fn nvmlDeviceGetAddressingMode(device: nvmlDevice_t, mode: *mut nvmlDeviceAddressingMode_t) => |call| {
        let version = mode.expect_version(1)?;
        let value = if gpu(call, &device)?.gpu.model.c2c { ADDRESSING_ATS } else { ADDRESSING_NONE };
        mode.put(nvmlDeviceAddressingMode_t { version, value })
    };
    fn nvmlDeviceGetGpuFabricInfo(device: nvmlDevice_t, info: *mut nvmlGpuFabricInfo_t) => |call| {
        let view = gpu(call, &device)?;
        let fabric = view.fabric()?;
        info.put(nvmlGpuFabricInfo_t {
            clusterUuid: fabric.cluster_uuid,
            status: 0,
            cliqueId: fabric.clique,
            state: FABRIC_COMPLETED,
        })
    };
    fn nvmlDeviceGetGpuFabricInfoV(device: nvmlDevice_t, info: *mut nvmlGpuFabricInfoV_t) => |call| {
        let version = info.version()?;
        let bytes = match version >> 24 {
            2 => FABRIC_INFO_V2_BYTES,
            3 => size_of::<nvmlGpuFabricInfo_v3_t>(),
            _ => return Err(Code::ARGUMENT_VERSION_MISMATCH),
        };
        if version & 0xFF_FFFF != bytes as u32 {
            return Err(Code::ARGUMENT_VERSION_MISMATCH);
        }
        let view = gpu(call, &device)?;
        let fabric = view.fabric()?;
        let whole = nvmlGpuFabricInfo_v3_t {
            version,
            clusterUuid: fabric.cluster_uuid,
            status: 0,
            cliqueId: fabric.clique,
            state: FABRIC_COMPLETED,
            healthMask: FABRIC_HEALTH_MASK,
            healthSummary: FABRIC_HEALTHY,
        };
        info.put_beginning(whole, bytes)
    };
}
