//! GPUs that drain, are removed and are discovered again.

use std::ffi::c_char;

use nvml_sim::{Code, PciDevice, PciPart};
use nvml_wrapper_sys::bindings::*;

use super::exports;
use crate::from_c::Out;

/// The beginning of every version of `nvmlPciInfo_t`, and all that these functions read of it: a caller of an older header
/// has less memory there.
#[repr(C)]
#[derive(Clone, Copy)]
struct PciInfoBeginning {
    bus_id: [c_char; 16],
    domain: u32,
    bus: u32,
    device: u32,
}

fn part(pci: &Out<nvmlPciInfo_t>) -> Result<PciPart, Code> {
    let PciInfoBeginning { domain, bus, device, .. } = pci.beginning::<PciInfoBeginning>().get()?;
    Ok(PciPart { domain, bus, device })
}

exports! {
    fn nvmlDeviceModifyDrainState(pci: *mut nvmlPciInfo_t, state: u32) => |call| {
        let gpu = call.gpu_at(part(&pci)?)?;
        if state > 1 { Err(Code::INVALID_ARGUMENT) } else { call.library.drain(gpu, state == 1) }
    };
    fn nvmlDeviceQueryDrainState(pci: *mut nvmlPciInfo_t, state: *mut u32) => |call| {
        state.present()?;
        state.put(call.is_draining(part(&pci)?)?.into())
    };
    // As with neither of the states that its successor takes (assumed).
    fn nvmlDeviceRemoveGpu(pci: *mut nvmlPciInfo_t) => |call| {
        call.library.remove_gpu(call.gpu_at(part(&pci)?)?, PciDevice::Kept)
    };
    fn nvmlDeviceRemoveGpu_v2(pci: *mut nvmlPciInfo_t, gpu_state: u32, link_state: u32) => |call| {
        let gpu = call.gpu_at(part(&pci)?)?;
        let devices = [PciDevice::Kept, PciDevice::Removed];
        let device = devices.into_iter().find(|known| *known as u32 == gpu_state);
        // Nobody sees the link above a device that is gone.
        let device = device.filter(|_| link_state <= 1).ok_or(Code::INVALID_ARGUMENT)?;
        call.library.remove_gpu(gpu, device)
    };
    fn nvmlDeviceDiscoverGpus(pci: *mut nvmlPciInfo_t) => |call| {
        call.library.discover_gpus(&call.snapshot()?.node, part(&pci)?)
    };
}
