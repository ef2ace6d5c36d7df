//! MIG mode, and the MIG devices of a GPU.

use nvml_sim::{Call, Code, mig_handle};
use nvml_wrapper_sys::bindings::*;

use super::{device as device_of, exports, gpu};
use crate::from_c::{Out, handle};

fn attributes(
    call: &Call<'_>,
    device: &Out<nvmlDevice_st>,
    attributes: &Out<nvmlDeviceAttributes_t>,
) -> Result<(), Code> {
    // "NOT_SUPPORTED if this query is not supported by the device": a whole GPU has none.
    let device = device_of(call, device)?.mig_device().map_err(|_| Code::NOT_SUPPORTED)?;
    let (of, engines) = (device.of.profile, device.of.profile.engines);
    attributes.put(nvmlDeviceAttributes_t {
        multiprocessorCount: device.profile.sms,
        sharedCopyEngineCount: engines.copy,
        sharedDecoderCount: engines.decode,
        sharedEncoderCount: engines.encode,
        sharedJpegCount: engines.jpeg,
        sharedOfaCount: engines.ofa,
        gpuInstanceSliceCount: of.slices,
        computeInstanceSliceCount: device.profile.slices,
        memorySizeMB: of.memory.0 >> 20,
    })
}

exports! {
    fn nvmlDeviceGetMigMode(device: nvmlDevice_t, current: *mut u32, pending: *mut u32) => |call| {
        let mode = gpu(call, &device)?.mig_mode()?;
        pending.present()?;
        current.put(mode.0.into())?;
        pending.put(mode.1.into())
    };
    // Success says only that the mode is pending; the status, whether it is the current one.
    fn nvmlDeviceSetMigMode(device: nvmlDevice_t, mode: u32, status: *mut nvmlReturn_t) => |call| {
        let view = gpu(call, &device)?;
        view.mig_table()?;
        status.present()?;
        if mode > 1 {
            return Err(Code::INVALID_ARGUMENT);
        }
        let activated = call.library.set_mig_mode(view, mode == 1)?;
        status.put(activated.err().map_or(0, |code| code.0))
    };
    // "Zero if MIG is not supported or enabled", says NVML's documentation.
    fn nvmlDeviceGetMaxMigDeviceCount(device: nvmlDevice_t, count: *mut u32) => |call| {
        let view = gpu(call, &device)?;
        count.put(if view.is_mig_enabled() { view.gpu.model.mig_devices_max } else { 0 })
    };
    // Clients walk all indexes, and pass over NOT_FOUND and INVALID_ARGUMENT only.
    fn nvmlDeviceGetMigDeviceHandleByIndex(device: nvmlDevice_t, index: u32, mig: *mut nvmlDevice_t) => |call| {
        let view = gpu(call, &device)?;
        mig.present()?;
        let found = view.mig_devices().find(|device| device.made.index == index);
        mig.put(handle(mig_handle(found.ok_or(Code::NOT_FOUND)?)))
    };
    fn nvmlDeviceIsMigDeviceHandle(device: nvmlDevice_t, is_mig: *mut u32) => |call| {
        is_mig.put(device_of(call, &device)?.mig_device().is_ok().into())
    };
    fn nvmlDeviceGetDeviceHandleFromMigDeviceHandle(mig: nvmlDevice_t, device: *mut nvmlDevice_t) => |call| {
        let mig = device_of(call, &mig)?;
        device.present()?;
        let parent = mig.mig_device().map_err(|_| Code::INVALID_ARGUMENT)?.of.gpu;
        device.put(handle(call.handle_of(parent.gpu)))
    };
    fn nvmlDeviceGetGpuInstanceId(device: nvmlDevice_t, id: *mut u32) => |call| {
        id.put(device_of(call, &device)?.mig_device()?.of.id)
    };
    fn nvmlDeviceGetComputeInstanceId(device: nvmlDevice_t, id: *mut u32) => |call| {
        id.put(device_of(call, &device)?.mig_device()?.id)
    };
    fn nvmlDeviceGetAttributes(device: nvmlDevice_t, out: *mut nvmlDeviceAttributes_t) => |call| {
        attributes(call, &device, &out)
    };
    fn nvmlDeviceGetAttributes_v2(device: nvmlDevice_t, out: *mut nvmlDeviceAttributes_t) => |call| {
        attributes(call, &device, &out)
    };
}
