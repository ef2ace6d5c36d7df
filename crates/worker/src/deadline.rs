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
    /// Waits for something to happen, for a time that the call itself was given.
    Wait {
        /// That time. The parent adds the time of a query before it gives the worker up.
        at_most: Duration,
    },
}

/// Longest time **without progress**: the time of one foreign call, not of a whole request. A request
/// of many calls may take as long as they take together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// For [`CallClass::Init`]. Without persistence mode a driver takes seconds for each GPU.
    pub init: Duration,
    /// For [`CallClass::Query`], and beyond its own time for [`CallClass::Wait`].
    pub query: Duration,
    /// For [`CallClass::Change`].
    pub change: Duration,
    /// For what the worker does itself: its start, the time between foreign calls, and beyond their own
    /// time its pauses. Also for preparing its start.
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
    /// The bound for a call of `class`.
    pub(crate) fn of(&self, class: CallClass) -> Duration {
        match class {
            CallClass::Init => self.init,
            CallClass::Query => self.query,
            CallClass::Change => self.change,
            CallClass::Wait { at_most } => at_most.saturating_add(self.query),
        }
    }
}
