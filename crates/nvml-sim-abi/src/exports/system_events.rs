//! Sets of system events: drivers that take GPUs and give them up.

use std::time::Duration;

use nvml_wrapper_sys::bindings::*;

use super::exports;
use crate::from_c::handle;

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
        let timeout = Duration::from_millis(wanted.timeoutms.into());
        call.library.wait_for_system_event(wanted.set.addr() as u64, timeout)
    };
}
