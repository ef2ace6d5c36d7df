//! Modes of one GPU that the driver keeps: what programs and people switch, as opposed to what is read. It knows the
//! modes of a driver that was just loaded.

use serde::{Deserialize, Serialize};

/// The modes of one GPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Modes {
    /// Whether the driver stays loaded without clients.
    pub persistence_mode: bool,
}

impl Modes {
    /// Those of a driver that was just loaded, on a machine whose persistence daemon runs.
    pub fn initial() -> Modes {
        Modes { persistence_mode: true }
    }
}
