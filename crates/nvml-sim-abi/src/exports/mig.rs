//! MIG as a client meets it while the mode is off: capable GPUs say so, and there are no MIG devices.

use nvml_sim::Code;
use nvml_wrapper_sys::bindings::*;

use super::{exports, gpu};

exports! {
    fn nvmlDeviceGetMigMode(device: nvmlDevice_t, current: *mut u32, pending: *mut u32) => |call| {
        if gpu(call, &device)?.gpu.model.mig_devices_max == 0 {
            return Err(Code::NOT_SUPPORTED);
        }
        pending.present()?;
        current.put(0)?;
        pending.put(0)
    };
    // "Zero if MIG is not supported or enabled", says NVML's documentation.
    fn nvmlDeviceGetMaxMigDeviceCount(device: nvmlDevice_t, count: *mut u32) => |call| {
        gpu(call, &device)?;
        count.put(0)
    };
    // Clients walk all indexes, and pass over NOT_FOUND and INVALID_ARGUMENT only.
    fn nvmlDeviceGetMigDeviceHandleByIndex(device: nvmlDevice_t, index: u32, mig: *mut nvmlDevice_t) => |call| {
        gpu(call, &device)?;
        mig.present()?;
        let _ = index;
        Err(Code::NOT_FOUND)
    };
    fn nvmlDeviceIsMigDeviceHandle(device: nvmlDevice_t, is_mig: *mut u32) => |call| {
        gpu(call, &device)?;
        is_mig.put(0)
    };
    fn nvmlDeviceGetDeviceHandleFromMigDeviceHandle(mig: nvmlDevice_t, device: *mut nvmlDevice_t) => |call| {
        gpu(call, &mig)?;
        device.present()?;
        Err(Code::INVALID_ARGUMENT)
    };
}
