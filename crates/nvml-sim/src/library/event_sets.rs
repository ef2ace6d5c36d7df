//! Event sets of GPUs: making, registering, waiting, freeing.

use std::time::Duration;

use super::handle::{self, Kind};
use super::{Library, RegisteredEvents};
use crate::code::Code;
use crate::events::{EventRecord, NO_INSTANCE};
use crate::node::Gpu;
use crate::snapshot::GpuView;
use crate::state::State;

/// An event as NVML reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LibraryEvent {
    /// Handle of the GPU.
    pub gpu: u64,
    /// The kind's bit.
    pub kind: u64,
    /// The XID, or the new recovery action.
    pub data: u64,
    /// The MIG GPU instance, or `NO_INSTANCE`.
    pub gpu_instance: u32,
    /// The MIG compute instance, or `NO_INSTANCE`.
    pub compute_instance: u32,
}

impl Library {
    /// Makes an event set and gives its handle.
    pub fn create_event_set(&self) -> Result<u64, Code> {
        self.snapshot()?;
        let mut process = self.process();
        process.event_sets_made += 1;
        let id = process.event_sets_made;
        process.event_sets.insert(id, RegisteredEvents::default());
        Ok(handle::encode(Kind::EventSet, id))
    }

    /// Adds kinds of a GPU's events to a set.
    pub fn register_events(&self, gpu: GpuView<'_>, mask: u64, set: u64) -> Result<(), Code> {
        let id = handle::decode(Kind::EventSet, set)?;
        if mask & !gpu.supported_events() != 0 {
            return Err(Code::NOT_SUPPORTED);
        }
        let now = gpu.snapshot.state.events.last;
        let mut process = self.process();
        let set = process.event_sets.get_mut(&id).ok_or(Code::INVALID_ARGUMENT)?;
        set.register(&gpu.gpu.uuid, mask, now);
        Ok(())
    }

    /// Frees a set. A wait on it ends with the next change of the node, or by its timeout.
    pub fn free_event_set(&self, set: u64) -> Result<(), Code> {
        self.snapshot()?;
        let id = handle::decode(Kind::EventSet, set)?;
        self.process().event_sets.remove(&id).map(|_| ()).ok_or(Code::INVALID_ARGUMENT)
    }

    /// Waits for the next event of a set. Events come first; then a registered GPU that is lost or removed ends each wait
    /// at once with `GPU_IS_LOST`, and it is the client's part not to spin.
    pub fn wait_for_event(&self, set: u64, timeout: Duration) -> Result<LibraryEvent, Code> {
        let id = handle::decode(Kind::EventSet, set)?;
        self.wait_until(timeout, |snapshot, process| {
            let set = process.event_sets.get_mut(&id).ok_or(Code::INVALID_ARGUMENT)?;
            let State { events, lost, drains, .. } = &*snapshot.state;
            while let Some(event) = set.take(events) {
                // What a GPU reported before it was removed has no handle to be told of any more.
                if let Some(gpu) = snapshot.node.gpus.iter().find(|gpu| gpu.uuid == event.gpu) {
                    return Ok(Some(report(&event, gpu)));
                }
            }
            let is_gone = |gpu: &str| lost.contains(gpu) || drains.is_removed(gpu);
            if set.gpus().any(is_gone) { Err(Code::GPU_IS_LOST) } else { Ok(None) }
        })
    }
}

fn report(event: &EventRecord, gpu: &Gpu) -> LibraryEvent {
    LibraryEvent {
        gpu: handle::encode(Kind::Gpu, gpu.handle),
        kind: event.kind.bit(),
        data: event.data,
        gpu_instance: event.gpu_instance.unwrap_or(NO_INSTANCE),
        compute_instance: event.compute_instance.unwrap_or(NO_INSTANCE),
    }
}
