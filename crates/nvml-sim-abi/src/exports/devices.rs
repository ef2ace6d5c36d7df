//! Finding GPUs: count, and handles by index, UUID, serial number and PCI address.

use std::ffi::c_char;

use nvml_sim::{Call, Code, Gpu};
use nvml_wrapper_sys::bindings::*;

use super::exports;
use crate::from_c::{In, Out, handle};

/// `nvmlUUID_t`: the UUID is text, or its sixteen bytes.
const UUID_ASCII: u32 = 1;
const UUID_BINARY: u32 = 2;

fn count(call: &Call<'_>, count: &Out<u32>) -> Result<(), Code> {
    count.put(call.snapshot()?.node.gpus.len() as u32)
}

fn give(call: &Call<'_>, device: &Out<nvmlDevice_t>, gpu: Result<&Gpu, Code>) -> Result<(), Code> {
    device.present()?.put(handle(call.handle_of(gpu?)))
}

fn by_pci(call: &Call<'_>, pci: &In<c_char>, device: &Out<nvmlDevice_t>) -> Result<(), Code> {
    give(call, device, call.snapshot()?.by_pci(&pci.text()?))
}

exports! {
    fn nvmlDeviceGetCount(out: *mut u32) => |call| count(call, &out);
    fn nvmlDeviceGetCount_v2(out: *mut u32) => |call| count(call, &out);
    fn nvmlDeviceGetHandleByIndex(index: u32, device: *mut nvmlDevice_t) => |call| {
        give(call, &device, call.snapshot()?.by_index(index as usize))
    };
    fn nvmlDeviceGetHandleByIndex_v2(index: u32, device: *mut nvmlDevice_t) => |call| {
        give(call, &device, call.snapshot()?.by_index(index as usize))
    };
    fn nvmlDeviceGetHandleByUUID(uuid: *const c_char, device: *mut nvmlDevice_t) => |call| {
        device.present()?.put(handle(call.device_by_uuid(&uuid.text()?)?))
    };
    fn nvmlDeviceGetHandleByUUIDV(uuid: *const nvmlUUID_t, device: *mut nvmlDevice_t) => |call| {
        let uuid = uuid.get()?;
        if uuid.version != crate::from_c::version_word::<nvmlUUID_t>(1) {
            return Err(Code::ARGUMENT_VERSION_MISMATCH);
        }
        let found = match uuid.type_ {
            UUID_BINARY => call.device_by_uuid_bytes(crate::from_c::uuid_bytes(&uuid.value)),
            UUID_ASCII => call.device_by_uuid(&crate::from_c::uuid_text(&uuid.value)),
            _ => Err(Code::INVALID_ARGUMENT),
        };
        device.present()?.put(handle(found?))
    };
    fn nvmlDeviceGetHandleBySerial(serial: *const c_char, device: *mut nvmlDevice_t) => |call| {
        give(call, &device, call.snapshot()?.by_serial(&serial.text()?))
    };
    fn nvmlDeviceGetHandleByPciBusId(pci: *const c_char, device: *mut nvmlDevice_t) => |call| {
        by_pci(call, &pci, &device)
    };
    fn nvmlDeviceGetHandleByPciBusId_v2(pci: *const c_char, device: *mut nvmlDevice_t) => |call| {
        by_pci(call, &pci, &device)
    };
}
