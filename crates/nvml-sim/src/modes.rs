//! Modes of one GPU that the driver keeps: what programs and people switch, as opposed to what is read. It knows the
//! modes of a driver that was just loaded.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::Model;
use crate::processes::Accounting;

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
    /// Which processes may compute.
    #[serde(default, skip_serializing_if = "ComputeMode::is_default")]
    pub compute_mode: ComputeMode,
    /// What is written down of processes; nothing while accounting is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounting: Option<Accounting>,
    /// Speeds of fans in percent, where a program has set them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fan_percents: BTreeMap<u32, u32>,
    /// Whether GPM samples are streamed.
    #[serde(default, skip_serializing_if = "is_off")]
    pub gpm_streaming: bool,
}

fn is_off(mode: &bool) -> bool {
    !mode
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
            compute_mode: ComputeMode::Default,
            accounting: None,
            fan_percents: BTreeMap::new(),
            gpm_streaming: false,
        }
    }

    /// Switches accounting; off, what was written down is gone.
    pub fn set_accounting(&mut self, on: bool) {
        self.accounting = on.then(|| self.accounting.take().unwrap_or_default());
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

/// Which processes may compute on a GPU; numbers are `nvmlComputeMode_t`. 1, one thread alone, drivers no longer have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ComputeMode {
    /// Any.
    #[default]
    Default = 0,
    /// None.
    Prohibited = 2,
    /// One at a time.
    ExclusiveProcess = 3,
}

impl ComputeMode {
    pub(crate) fn is_default(&self) -> bool {
        *self == ComputeMode::Default
    }
}
