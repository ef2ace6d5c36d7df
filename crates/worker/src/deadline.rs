//! How long a worker may be silent, by what it is doing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What kind of foreign call a worker makes; it decides how long the call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallClass {
    /// Initialises the foreign library.
    Init,
    /// Reads something.
    Query,
    /// Changes something.
    Change,
    /// Waits for something to happen; it may take for ever.
    Wait,
}

/// Longest time **without progress**: the time of one foreign call, not of a whole request. A request
/// of many calls may take as long as they take together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// For [`CallClass::Init`]. Without persistence mode a driver takes seconds for each GPU.
    pub init: Duration,
    /// For [`CallClass::Query`].
    pub query: Duration,
    /// For [`CallClass::Change`].
    pub change: Duration,
    /// For what the worker does itself: its start, and the time between foreign calls.
    pub own: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Deadlines {
            init: Duration::from_secs(120),
            query: Duration::from_secs(5),
            change: Duration::from_secs(60),
            own: Duration::from_secs(10),
        }
    }
}

impl Deadlines {
    /// The bound for a call of `class`, or for the worker's own work; `None` is no bound.
    pub(crate) fn of(&self, class: Option<CallClass>) -> Option<Duration> {
        match class {
            None => Some(self.own),
            Some(CallClass::Init) => Some(self.init),
            Some(CallClass::Query) => Some(self.query),
            Some(CallClass::Change) => Some(self.change),
            Some(CallClass::Wait) => None,
        }
    }
}
