//! ECC, retired pages and remapped rows. A simulated GPU has no memory errors yet.

use nvml_sim::{Architecture, Code, GpuView};
use nvml_wrapper_sys::bindings::*;

use super::{exports, gpu};

/// `nvmlMemoryLocation_t`: one more than the highest.
const PLACES: u32 = 8;

fn needs_ecc(view: GpuView<'_>) -> Result<(), Code> {
    if view.gpu.model.ecc.is_on() { Ok(()) } else { Err(Code::NOT_SUPPORTED) }
}

/// Whether ECC is on, of a GPU that can do it.
fn mode(view: GpuView<'_>) -> Result<bool, Code> {
    let ecc = view.gpu.model.ecc;
    if ecc.is_supported() { Ok(ecc.is_on()) } else { Err(Code::NOT_SUPPORTED) }
}

/// Pages are retired up to Turing; rows are remapped since.
fn needs_page_retirement(view: GpuView<'_>) -> Result<(), Code> {
    if view.gpu.model.architecture < Architecture::Ampere { Ok(()) } else { Err(Code::NOT_SUPPORTED) }
}

exports! {
    fn nvmlDeviceGetEccMode(device: nvmlDevice_t, current: *mut u32, pending: *mut u32) => |call| {
        let on = mode(gpu(call, &device)?)?.into();
        pending.present()?;
        current.put(on)?;
        pending.put(on)
    };
    // Every data centre GPU that can do ECC is shipped with it on.
    fn nvmlDeviceGetDefaultEccMode(device: nvmlDevice_t, default: *mut u32) => |call| {
        mode(gpu(call, &device)?)?;
        default.put(1)
    };
    fn nvmlDeviceGetTotalEccErrors(device: nvmlDevice_t, kind: u32, counter: u32, count: *mut u64) => |call| {
        needs_ecc(gpu(call, &device)?)?;
        if kind > 1 || counter > 1 { Err(Code::INVALID_ARGUMENT) } else { count.put(0) }
    };
    fn nvmlDeviceGetMemoryErrorCounter(
        device: nvmlDevice_t, kind: u32, counter: u32, place: u32, count: *mut u64
    ) => |call| {
        needs_ecc(gpu(call, &device)?)?;
        if kind > 1 || counter > 1 || place >= PLACES { Err(Code::INVALID_ARGUMENT) } else { count.put(0) }
    };
    fn nvmlDeviceGetRetiredPages(
        device: nvmlDevice_t, cause: u32, count: *mut u32, addresses: *mut u64
    ) => |call| {
        needs_page_retirement(gpu(call, &device)?)?;
        let _ = (cause, addresses.is_null());
        count.put(0)
    };
    fn nvmlDeviceGetRetiredPages_v2(
        device: nvmlDevice_t, cause: u32, count: *mut u32, addresses: *mut u64, times: *mut u64
    ) => |call| {
        needs_page_retirement(gpu(call, &device)?)?;
        let _ = (cause, addresses.is_null(), times.is_null());
        count.put(0)
    };
    fn nvmlDeviceGetRetiredPagesPendingStatus(device: nvmlDevice_t, pending: *mut u32) => |call| {
        needs_page_retirement(gpu(call, &device)?)?;
        pending.put(0)
    };
    fn nvmlDeviceGetRemappedRows(
        device: nvmlDevice_t, corrected: *mut u32, uncorrected: *mut u32, pending: *mut u32, failed: *mut u32
    ) => |call| {
        if gpu(call, &device)?.gpu.model.architecture < Architecture::Ampere {
            return Err(Code::NOT_SUPPORTED);
        }
        for out in [&corrected, &uncorrected, &pending, &failed] {
            out.put(0)?;
        }
        Ok(())
    };
}
