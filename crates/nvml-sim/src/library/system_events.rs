//! Sets of system events: a GPU that the driver takes, or lets go of.

use std::time::Duration;

use super::Library;
use super::handle::{self, Kind};
use crate::code::Code;
use crate::drain::{Binding, Drains};

/// The kinds that exist, as bits of `BindingChange`.
pub const SYSTEM_EVENTS: u64 = 0b11;

/// What a program registered a set for, and how far it has read.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEventSet {
    kinds: u64,
    read_to: u64,
}

impl SystemEventSet {
    fn register(&mut self, kinds: u64, drains: &Drains) {
        // What was before is not told.
        if self.kinds == 0 {
            self.read_to = drains.last_binding();
        }
        self.kinds |= kinds;
    }

    fn take(&mut self, drains: &Drains, most: usize) -> Vec<Binding> {
        let is_new =
            |binding: &&Binding| binding.number > self.read_to && self.kinds & binding.change.bit() != 0;
        let taken: Vec<Binding> = drains.bindings.iter().filter(is_new).take(most).cloned().collect();
        if let Some(last) = taken.last() {
            self.read_to = last.number;
        }
        taken
    }
}

impl Library {
    /// Makes a set and gives its handle.
    pub fn create_system_event_set(&self) -> Result<u64, Code> {
        self.snapshot()?;
        let mut process = self.process();
        process.event_sets_made += 1;
        let id = process.event_sets_made;
        process.system_event_sets.insert(id, SystemEventSet::default());
        Ok(handle::encode(Kind::SystemEventSet, id))
    }

    /// Adds kinds of events to a set.
    pub fn register_system_events(&self, set: u64, kinds: u64) -> Result<(), Code> {
        let drains = &self.snapshot()?.state.drains;
        let id = handle::decode(Kind::SystemEventSet, set)?;
        if kinds & !SYSTEM_EVENTS != 0 {
            return Err(Code::NOT_SUPPORTED);
        }
        let mut process = self.process();
        let set = process.system_event_sets.get_mut(&id).ok_or(Code::INVALID_ARGUMENT)?;
        set.register(kinds, drains);
        Ok(())
    }

    /// Frees a set.
    pub fn free_system_event_set(&self, set: u64) -> Result<(), Code> {
        self.snapshot()?;
        let id = handle::decode(Kind::SystemEventSet, set)?;
        self.process().system_event_sets.remove(&id).map(|_| ()).ok_or(Code::INVALID_ARGUMENT)
    }

    /// Waits for events of a set, and takes as many as there is room for.
    pub fn wait_for_system_events(
        &self,
        set: u64,
        timeout: Duration,
        room: usize,
    ) -> Result<Vec<Binding>, Code> {
        let id = handle::decode(Kind::SystemEventSet, set)?;
        self.wait_until(timeout, |snapshot, process| {
            let set = process.system_event_sets.get_mut(&id).ok_or(Code::INVALID_ARGUMENT)?;
            let taken = set.take(&snapshot.state.drains, room);
            Ok(Some(taken).filter(|taken| !taken.is_empty()))
        })
    }
}
