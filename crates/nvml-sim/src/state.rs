//! What has happened to the node since it was declared, and the folder that keeps it.
//!
//! Each concern brings its own type; this file only puts them side by side.

mod folder;
mod watch;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::events::EventLog;
use crate::faults::Fault;
use crate::latency::Latency;
use crate::loss::LostGpus;
use crate::overrides::Overrides;

pub use folder::{StateFolder, StateFolderError};
pub use watch::{Watch, pause};

/// The state of one generation. An empty folder is generation 0: nothing has happened.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct State {
    /// Number of commits before and including this state.
    pub generation: u64,
    /// The node's clock.
    #[serde(skip_serializing_if = "is_default")]
    pub clock: Clock,
    /// Events.
    #[serde(skip_serializing_if = "is_default")]
    pub events: EventLog,
    /// Lost GPUs.
    #[serde(skip_serializing_if = "LostGpus::is_empty")]
    pub lost: LostGpus,
    /// Readings that were set, by GPU UUID.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub overrides: BTreeMap<String, Overrides>,
    /// Delays in place of the node file's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// Faults of functions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
