//! The driver's event set: which GPUs it watches, and waiting for what happens.

use std::time::Duration;

use nvml_wrapper_sys::bindings as sys;

use worker::CallClass;

use super::{Driver, Failure, Gpu, GpuKey, raw};
use crate::Code;

/// In an event: not one instance in particular.
const NO_INSTANCE: u32 = u32::MAX;

/// An event set of a [`Driver`].
pub(crate) struct EventSet<'d> {
    driver: &'d Driver<'d>,
    handle: sys::nvmlEventSet_t,
}

/// A critical event as the driver gives it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawEvent {
    pub gpu: GpuKey,
    pub xid: u64,
    pub gpu_instance: Option<u32>,
    pub compute_instance: Option<u32>,
}

impl<'d> EventSet<'d> {
    pub fn create(driver: &'d Driver<'d>) -> Result<EventSet<'d>, Failure> {
        let mut handle = std::ptr::null_mut();
        raw!(driver, Query, nvmlEventSetCreate(&raw mut handle))?;
        if handle.is_null() {
            return Err(Failure::senseless("nvmlEventSetCreate"));
        }
        Ok(EventSet { driver, handle })
    }

    /// Watches one GPU's critical events.
    pub fn register(&self, gpu: &Gpu<'_>) -> Result<(), Failure> {
        let kinds = u64::from(sys::nvmlEventTypeXidCriticalError);
        raw!(gpu, Query, nvmlDeviceRegisterEvents(gpu.handle, kinds, self.handle))
    }

    /// Waits for the next critical event; `None` when `time` passed without one.
    pub fn wait(&self, time: Duration) -> Result<Option<RawEvent>, Failure> {
        let mut data = sys::nvmlEventData_t {
            device: std::ptr::null_mut(),
            eventType: 0,
            eventData: 0,
            gpuInstanceId: NO_INSTANCE,
            computeInstanceId: NO_INSTANCE,
        };
        let class = CallClass::Wait { at_most: time };
        let time = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        match raw!(self.driver, class, nvmlEventSetWait_v2(self.handle, &raw mut data, time)) {
            Ok(()) => {}
            Err(Failure { code: Code::Timeout, .. }) => return Ok(None),
            Err(failure) => return Err(failure),
        }
        let instance = |id: u32| (id != NO_INSTANCE).then_some(id);
        let critical = data.eventType & u64::from(sys::nvmlEventTypeXidCriticalError) != 0;
        Ok(critical.then(|| RawEvent {
            gpu: GpuKey::of(data.device),
            xid: data.eventData,
            gpu_instance: instance(data.gpuInstanceId),
            compute_instance: instance(data.computeInstanceId),
        }))
    }

    /// Gives the set back. What comes of it changes nothing.
    pub fn free(self) {
        let _ = raw!(self.driver, Query, nvmlEventSetFree(self.handle));
    }
}
