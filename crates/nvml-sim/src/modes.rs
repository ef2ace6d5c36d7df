//! Modes of one GPU that the driver keeps: what programs and people switch, as opposed to what is read. It knows the
//! modes of a driver that was just loaded.

use serde::{Deserialize, Serialize};

use crate::model::Model;

/// The modes of one GPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Modes {
    /// Whether the driver stays loaded without clients.
    pub persistence_mode: bool,
    /// The power limit, where it is not the model's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_limit_milliwatts: Option<u32>,
    /// Application clocks in MHz, where they are not the model's: memory and graphics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application_clocks: Option<(u32, u32)>,
    /// The range in MHz that graphics clocks are locked to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_graphics: Option<(u32, u32)>,
    /// The range in MHz that memory clocks are locked to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_memory: Option<(u32, u32)>,
}

impl Modes {
    /// Those of a driver that was just loaded, on a machine whose persistence daemon runs.
    pub fn initial() -> Modes {
        Modes {
            persistence_mode: true,
            power_limit_milliwatts: None,
            application_clocks: None,
            locked_graphics: None,
            locked_memory: None,
        }
    }

    /// Between which graphics clocks the GPU may run. Locked clocks go before application clocks.
    pub fn graphics_range(&self, model: &Model) -> (u32, u32) {
        let most = model.clock_graphics_mhz;
        match (self.locked_graphics, self.application_clocks) {
            (Some((low, high)), _) => (low.min(high).min(most), high.min(most)),
            (None, Some((_, graphics))) => (0, graphics.min(most)),
            (None, None) => (0, most),
        }
    }
}
