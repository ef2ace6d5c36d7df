//! What keeps a GPU's clocks down: NVML's clocks event reasons, and the times that are counted for each. It knows numbers
//! and names, not when a reason holds.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::counters::Quantity;

/// A reason; numbers are `nvmlClocksEventReason…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing runs.
    Idle = 0x1,
    /// Clocks are as someone set them.
    ClocksSetting = 0x2,
    /// Power is at its limit.
    PowerCap = 0x4,
    /// The hardware slows down, by heat or by a power brake.
    HwSlowdown = 0x8,
    /// Held to the clocks of a group.
    SyncBoost = 0x10,
    /// The driver slows down since it is hot.
    SwThermal = 0x20,
    /// The hardware slows down since it is hot.
    HwThermal = 0x40,
    /// The machine asks for less power.
    PowerBrake = 0x80,
    /// Clocks are as a display needs them.
    DisplayClock = 0x100,
}

/// Some reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reasons(u64);

/// Text that is no list of reasons.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{0}` is no reason; known are {known}", known = NAMES.map(|(_, name)| name).join(", "))]
pub struct ParseReasonsError(String);

const NAMES: [(Reason, &str); 9] = [
    (Reason::Idle, "idle"),
    (Reason::ClocksSetting, "clocks-setting"),
    (Reason::PowerCap, "sw-power-cap"),
    (Reason::HwSlowdown, "hw-slowdown"),
    (Reason::SyncBoost, "sync-boost"),
    (Reason::SwThermal, "sw-thermal"),
    (Reason::HwThermal, "hw-thermal"),
    (Reason::PowerBrake, "hw-power-brake"),
    (Reason::DisplayClock, "display-clock"),
];

impl Reason {
    /// All of them.
    pub const ALL: &'static [Reason] = &[
        Reason::Idle,
        Reason::ClocksSetting,
        Reason::PowerCap,
        Reason::HwSlowdown,
        Reason::SyncBoost,
        Reason::SwThermal,
        Reason::HwThermal,
        Reason::PowerBrake,
        Reason::DisplayClock,
    ];

    /// The counter of its time.
    pub fn quantity(self) -> Quantity {
        match self {
            Reason::Idle => Quantity::Idle,
            Reason::ClocksSetting => Quantity::ClocksSetting,
            Reason::PowerCap => Quantity::PowerCap,
            Reason::HwSlowdown => Quantity::HwSlowdown,
            Reason::SyncBoost => Quantity::SyncBoost,
            Reason::SwThermal => Quantity::SwThermal,
            Reason::HwThermal => Quantity::HwThermal,
            Reason::PowerBrake => Quantity::PowerBrake,
            Reason::DisplayClock => Quantity::DisplayClock,
        }
    }
}

impl Reasons {
    /// NVML's mask.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// These and one more.
    pub fn with(self, reason: Reason) -> Reasons {
        Reasons(self.0 | reason as u64)
    }

    /// Whether one is among them.
    pub fn has(self, reason: Reason) -> bool {
        self.0 & reason as u64 != 0
    }

    /// Whether heat is among them.
    pub fn is_hot(self) -> bool {
        self.has(Reason::SwThermal) || self.has(Reason::HwThermal)
    }

    /// Whether they keep clocks below those that were asked for.
    pub fn limit(self) -> bool {
        self.0 & !(Reason::ClocksSetting as u64) != 0
    }
}

impl FromStr for Reasons {
    type Err = ParseReasonsError;

    fn from_str(text: &str) -> Result<Reasons, ParseReasonsError> {
        text.split(',').try_fold(Reasons::default(), |reasons, name| {
            let known = NAMES.iter().find(|(_, known)| *known == name.trim());
            known.map(|(reason, _)| reasons.with(*reason)).ok_or_else(|| ParseReasonsError(name.to_owned()))
        })
    }
}

impl TryFrom<String> for Reasons {
    type Error = ParseReasonsError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Reasons> for String {
    fn from(reasons: Reasons) -> String {
        reasons.to_string()
    }
}

impl fmt::Display for Reasons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> =
            NAMES.iter().filter(|(reason, _)| self.has(*reason)).map(|(_, name)| *name).collect();
        f.write_str(&names.join(","))
    }
}
