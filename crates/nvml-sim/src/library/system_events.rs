//! Sets of system events: a GPU that a driver takes or gives up. A simulated driver keeps its GPUs as long as programs
//! run, so a wait ends by its timeout, or with the driver's load.

use std::time::{Duration, Instant};

use super::Library;
use super::handle::{self, Kind};
use crate::code::Code;
use crate::state::Watch;

/// The kinds that exist: a driver gives a GPU up, a driver takes one (`nvmlSystemEventTypeGpuDriver…`).
pub const SYSTEM_EVENTS: u64 = 0b11;

impl Library {
    /// Makes a set and gives its handle.
    pub fn create_system_event_set(&self) -> Result<u64, Code> {
        self.snapshot()?;
        let mut process = self.process();
        process.event_sets_made += 1;
        let id = process.event_sets_made;
        process.system_event_sets.insert(id, 0);
        Ok(handle::encode(Kind::SystemEventSet, id))
    }

    /// Adds kinds of events to a set.
    pub fn register_system_events(&self, set: u64, kinds: u64) -> Result<(), Code> {
        self.snapshot()?;
        let id = handle::decode(Kind::SystemEventSet, set)?;
        if kinds & !SYSTEM_EVENTS != 0 {
            return Err(Code::NOT_SUPPORTED);
        }
        let mut process = self.process();
        *process.system_event_sets.get_mut(&id).ok_or(Code::INVALID_ARGUMENT)? |= kinds;
        Ok(())
    }

    /// Frees a set.
    pub fn free_system_event_set(&self, set: u64) -> Result<(), Code> {
        self.snapshot()?;
        let id = handle::decode(Kind::SystemEventSet, set)?;
        self.process().system_event_sets.remove(&id).map(|_| ()).ok_or(Code::INVALID_ARGUMENT)
    }

    /// Waits for an event of a set: `TIMEOUT`, or how the load of the driver ended.
    pub fn wait_for_system_event(&self, set: u64, timeout: Duration) -> Result<(), Code> {
        let id = handle::decode(Kind::SystemEventSet, set)?;
        let deadline = Instant::now().checked_add(timeout);
        let folder = self.folder().map_err(|_| Code::UNINITIALIZED)?;
        let mut watch = None;
        loop {
            self.snapshot()?;
            if !self.process().system_event_sets.contains_key(&id) {
                return Err(Code::INVALID_ARGUMENT);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(Code::TIMEOUT);
            }
            match &watch {
                None => watch = Some(Watch::new(folder.dir())),
                Some(watch) => watch.wait(deadline),
            }
        }
    }
}
