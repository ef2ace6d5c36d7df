//! Modes of a GPU: persistence, compute, display, virtualisation, addressing, rights.

use nvml_sim::{Code, ComputeMode};
use nvml_wrapper_sys::bindings::*;

use super::{device as device_of, exports, gpu};

/// `nvmlDeviceAddressingModeType_t`: no common address space with the CPU, or one by the hardware's translation.
const ADDRESSING_NONE: u32 = 0;
const ADDRESSING_ATS: u32 = 2;
/// `nvmlComputeMode_t`: one thread alone.
const EXCLUSIVE_THREAD: u32 = 1;
/// `nvmlRestrictedAPI_t`: setting application clocks; and automatic boost, which GPUs since Pascal do by those clocks.
const RESTRICT_APPLICATION_CLOCKS: u32 = 0;
const RESTRICT_AUTO_BOOST: u32 = 1;

exports! {
    fn nvmlDeviceGetPersistenceMode(device: nvmlDevice_t, mode: *mut u32) => |call| {
        mode.put(gpu(call, &device)?.persistence_mode().into())
    };
    fn nvmlDeviceSetPersistenceMode(device: nvmlDevice_t, mode: u32) => |call| {
        let view = gpu(call, &device)?;
        if mode > 1 { Err(Code::INVALID_ARGUMENT) } else { call.library.set_persistence_mode(view, mode == 1) }
    };
    fn nvmlDeviceGetComputeMode(device: nvmlDevice_t, mode: *mut u32) => |call| {
        mode.put(device_of(call, &device)?.compute_mode() as u32)
    };
    // One thread alone, as mode 1 was, drivers can no longer do.
    fn nvmlDeviceSetComputeMode(device: nvmlDevice_t, mode: u32) => |call| {
        let view = device_of(call, &device)?;
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
    fn nvmlDeviceGetC2cModeInfoV(device: nvmlDevice_t, mode: *mut nvmlC2cModeInfo_v1_t) => |call| {
        let view = gpu(call, &device)?;
        mode.present()?;
        if view.gpu.model.c2c { mode.put(nvmlC2cModeInfo_v1_t { isC2cEnabled: 1 }) } else { Err(Code::NOT_SUPPORTED) }
    };
    fn nvmlDeviceGetAPIRestriction(device: nvmlDevice_t, kind: u32, restricted: *mut u32) => |call| {
        let view = gpu(call, &device)?;
        match kind {
            RESTRICT_APPLICATION_CLOCKS => restricted.put(view.are_application_clocks_for_root().into()),
            RESTRICT_AUTO_BOOST => restricted.present().and(Err(Code::NOT_SUPPORTED)),
            _ => Err(Code::INVALID_ARGUMENT),
        }
    };
    fn nvmlDeviceSetAPIRestriction(device: nvmlDevice_t, kind: u32, restricted: u32) => |call| {
        let view = gpu(call, &device)?;
        match (kind, restricted) {
            (RESTRICT_APPLICATION_CLOCKS, 0 | 1) => call.library.restrict_application_clocks(view, restricted == 1),
            (RESTRICT_AUTO_BOOST, 0 | 1) => Err(Code::NOT_SUPPORTED),
            _ => Err(Code::INVALID_ARGUMENT),
        }
    };
}
