//! What keeps clocks down, and for how long it has.

use nvml_wrapper_sys::bindings::*;

use super::{exports, gpu};

/// `nvmlClocksEventReason…`: all that exist.
const REASONS: u64 = 0x1FF;

exports! {
    fn nvmlDeviceGetCurrentClocksThrottleReasons(device: nvmlDevice_t, mask: *mut u64) => |call| {
        mask.put(gpu(call, &device)?.throttle_reasons().bits())
    };
    fn nvmlDeviceGetCurrentClocksEventReasons(device: nvmlDevice_t, mask: *mut u64) => |call| {
        mask.put(gpu(call, &device)?.throttle_reasons().bits())
    };
    fn nvmlDeviceGetSupportedClocksThrottleReasons(device: nvmlDevice_t, mask: *mut u64) => |call| {
        gpu(call, &device)?;
        mask.put(REASONS)
    };
    fn nvmlDeviceGetSupportedClocksEventReasons(device: nvmlDevice_t, mask: *mut u64) => |call| {
        gpu(call, &device)?;
        mask.put(REASONS)
    };
    fn nvmlDeviceGetViolationStatus(
        device: nvmlDevice_t, policy: u32, time: *mut nvmlViolationTime_t
    ) => |call| {
        let (violation, reference) = gpu(call, &device)?.violation(policy)?;
        time.put(nvmlViolationTime_t { referenceTime: reference, violationTime: violation })
    };
}
