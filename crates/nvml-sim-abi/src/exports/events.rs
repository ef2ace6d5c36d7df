//! Event sets: the way by which programs learn of XIDs.

use std::mem::offset_of;
use std::time::Duration;

use nvml_sim::{Call, Code};
use nvml_wrapper_sys::bindings::*;

use super::{exports, gpu};
use crate::from_c::{Out, handle};

/// What `nvmlEventData_t` ended with before MIG ids were added to it.
const OLD_EVENT_DATA_BYTES: usize = offset_of!(nvmlEventData_t, gpuInstanceId);
const _: () = assert!(OLD_EVENT_DATA_BYTES == 24, "an old client's struct is so long");

fn wait(call: &Call<'_>, set: &Out<nvmlEventSet_st>, timeout_ms: u32) -> Result<nvmlEventData_t, Code> {
    let timeout = Duration::from_millis(timeout_ms.into());
    let event = call.library.wait_for_event(set.number(), timeout)?;
    Ok(nvmlEventData_t {
        device: handle(event.gpu),
        eventType: event.kind,
        eventData: event.data,
        gpuInstanceId: event.gpu_instance,
        computeInstanceId: event.compute_instance,
    })
}

exports! {
    fn nvmlDeviceGetSupportedEventTypes(device: nvmlDevice_t, kinds: *mut u64) => |call| {
        kinds.put(gpu(call, &device)?.supported_events())
    };
    fn nvmlEventSetCreate(set: *mut nvmlEventSet_t) => |call| {
        set.present()?;
        set.put(handle(call.library.create_event_set()?))
    };
    fn nvmlDeviceRegisterEvents(device: nvmlDevice_t, kinds: u64, set: nvmlEventSet_t) => |call| {
        call.library.register_events(gpu(call, &device)?, kinds, set.number())
    };
    fn nvmlEventSetWait(set: nvmlEventSet_t, data: *mut nvmlEventData_t, timeout_ms: u32) => |call| {
        data.present()?;
        data.put_beginning(wait(call, &set, timeout_ms)?, OLD_EVENT_DATA_BYTES)
    };
    fn nvmlEventSetWait_v2(set: nvmlEventSet_t, data: *mut nvmlEventData_t, timeout_ms: u32) => |call| {
        data.present()?;
        data.put(wait(call, &set, timeout_ms)?)
    };
    fn nvmlEventSetFree(set: nvmlEventSet_t) => |call| call.library.free_event_set(set.number());
}
