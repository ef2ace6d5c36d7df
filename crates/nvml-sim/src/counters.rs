//! Counters that only rise: what each GPU has drawn, moved and waited until its last change, and what has come to it
//! since. It knows quantities, bases and sums, not how they are asked for.
//!
//! Between two changes a GPU follows a curve that is known beforehand, so that a counter at any time is its base and the
//! curve's exact sum since: nothing runs in the background, and nothing has to be remembered.

mod drive;
mod settle;
mod totals;

use serde::{Deserialize, Serialize};

pub use drive::{Drive, Pace};
pub use totals::{Quantity, Totals};

/// When the driver was loaded, as far as a node remembers no later time: 2024-01-01, in microseconds since 1970.
const LOADED_US: u64 = 1_704_067_200_000_000;

/// The counters of one GPU at its last change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Counters {
    /// When that was, in microseconds since 1970.
    pub since_us: u64,
    /// When its load began.
    pub load_since_us: u64,
    /// What had come together until then.
    #[serde(default, skip_serializing_if = "Totals::is_empty")]
    pub totals: Totals,
    /// The power in milliwatts that its temperature followed then; that of idling where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heat_milliwatts: Option<u64>,
}

impl Default for Counters {
    fn default() -> Self {
        Counters {
            since_us: LOADED_US,
            load_since_us: LOADED_US,
            totals: Totals::default(),
            heat_milliwatts: None,
        }
    }
}

impl Counters {
    /// Those of a node that was just made, with a load that begins then.
    pub fn begun(now_us: u64) -> Counters {
        Counters { load_since_us: now_us, ..Counters::default() }
    }
}
