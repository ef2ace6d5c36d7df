//! Sets of system events: a driver that takes GPUs and lets go of them.

use std::time::Duration;

use nvml_sim::{Binding, PciAddress};
use nvml_wrapper_sys::bindings::*;

use super::exports;
use crate::from_c::handle;

fn event(binding: &Binding) -> nvmlSystemEventData_v1_t {
    let PciAddress { domain, bus, device, .. } = binding.pci;
    // The header says "in PCI format"; which bits are which is assumed.
    let gpu_id = domain << 16 | u32::from(bus) << 8 | u32::from(device);
    nvmlSystemEventData_v1_t { eventType: binding.change.bit(), gpuId: gpu_id }
}

exports! {
    fn nvmlSystemEventSetCreate(request: *mut nvmlSystemEventSetCreateRequest_v1_t) => |call| {
        let version = request.expect_version(1)?;
        let set = handle(call.library.create_system_event_set()?);
        request.put(nvmlSystemEventSetCreateRequest_v1_t { version, set })
    };
    fn nvmlSystemEventSetFree(request: *mut nvmlSystemEventSetFreeRequest_v1_t) => |call| {
        request.expect_version(1)?;
        call.library.free_system_event_set(request.get()?.set.addr() as u64)
    };
    fn nvmlSystemRegisterEvents(request: *mut nvmlSystemRegisterEventRequest_v1_t) => |call| {
        request.expect_version(1)?;
        let request = request.get()?;
        call.library.register_system_events(request.set.addr() as u64, request.eventTypes)
    };
    fn nvmlSystemEventSetWait(request: *mut nvmlSystemEventSetWaitRequest_v1_t) => |call| {
        request.expect_version(1)?;
        let mut wanted = request.get()?;
        wanted.numEvent = 0;
        request.put(wanted)?;
        let data = request.array(wanted.data);
        if wanted.dataSize > 0 {
            data.present()?;
        }
        let (set, timeout) = (wanted.set.addr() as u64, Duration::from_millis(wanted.timeoutms.into()));
        let taken = call.library.wait_for_system_events(set, timeout, wanted.dataSize as usize)?;
        wanted.numEvent = taken.len() as u32;
        data.put_all(taken.iter().map(event))?;
        request.put(wanted)
    };
}
