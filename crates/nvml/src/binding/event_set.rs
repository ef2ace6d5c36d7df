//! The driver's event set: which GPUs it watches, and waiting for what happens.

use std::time::Duration;

use nvml_wrapper_sys::bindings as sys;

use worker::CallClass;

use super::{Driver, Failure, Gpu, GpuKey, raw};
use crate::Code;

const XID: u64 = sys::nvmlEventTypeXidCriticalError as u64;

const MIG_CHANGE: u64 = sys::nvmlEventMigConfigChange as u64;

/// In an event: not one instance in particular.
const NO_INSTANCE: u32 = u32::MAX;

/// An event set of a [`Driver`].
pub(crate) struct EventSet<'d> {
    driver: &'d Driver<'d>,
    handle: sys::nvmlEventSet_t,
}

/// An event as the driver gives it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawEvent {
    pub gpu: GpuKey,
    pub kind: RawKind,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RawKind {
    /// A critical error.
    Xid { xid: u64, gpu_instance: Option<u32>, compute_instance: Option<u32> },
    /// The MIG mode or instances changed.
    MigChange,
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

    /// Watches one GPU's critical events, and changes of its partitioning where the driver tells them: a kind that it does
    /// not have fails them all.
    pub fn register(&self, gpu: &Gpu<'_>) -> Result<(), Failure> {
        let mut supported = 0;
        let asked = raw!(gpu, Query, nvmlDeviceGetSupportedEventTypes(gpu.handle, &raw mut supported));
        let more = if asked.is_ok() { supported & MIG_CHANGE } else { 0 };
        raw!(gpu, Query, nvmlDeviceRegisterEvents(gpu.handle, XID | more, self.handle))
    }

    /// Waits for the next event; `None` when `time` passed without one.
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
        let kind = if data.eventType & XID != 0 {
            RawKind::Xid {
                xid: data.eventData,
                gpu_instance: instance(data.gpuInstanceId),
                compute_instance: instance(data.computeInstanceId),
            }
        } else if data.eventType & MIG_CHANGE != 0 {
            RawKind::MigChange
        } else {
            return Ok(None);
        };
        Ok(Some(RawEvent { gpu: GpuKey::of(data.device), kind }))
    }

    /// Gives the set back. What comes of it changes nothing.
    pub fn free(self) {
        let _ = raw!(self.driver, Query, nvmlEventSetFree(self.handle));
    }
}
