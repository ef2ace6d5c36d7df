//! Faults of single functions, on command: a wrong return code, a hang, a crash. It decides which call is
//! struck; it neither hangs nor crashes itself.

use serde::{Deserialize, Serialize};

use crate::latency::fits;

/// A fault that waits for calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Fault {
    /// Function name, or its beginning and `*`.
    pub function: String,
    /// UUID of the GPU whose calls it concerns: those that take its handle first. Absent: any call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
    /// What happens to a struck call.
    pub effect: Effect,
    /// Calls that pass before the first is struck.
    #[serde(default)]
    pub after: u32,
    /// Which calls are struck then.
    pub occurrence: Occurrence,
}

/// What a fault does to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Returns this code and does nothing else.
    Return(u32),
    /// Blocks until the fault is cleared or the process is killed.
    Hang,
    /// Ends the process by SIGSEGV.
    Crash,
}

/// How often a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Occurrence {
    /// Every call, until cleared.
    Always,
    /// So many calls, in whichever processes; the fault is gone then.
    Times(u32),
}

impl Fault {
    /// Whether a strike changes nothing, so that it needs no commit.
    pub fn is_steady(&self) -> bool {
        self.after == 0 && self.occurrence == Occurrence::Always
    }

    /// Whether a call of a function, on a GPU or on none, meets this fault.
    pub fn concerns(&self, function: &str, gpu: Option<&str>) -> bool {
        fits(&self.function, function) && self.gpu.as_deref().is_none_or(|own| gpu == Some(own))
    }
}

/// Counts one call of a function, on a GPU or on none, against the first fault that concerns it, and says what
/// happens to the call.
pub fn strike(faults: &mut Vec<Fault>, function: &str, gpu: Option<&str>) -> Option<Effect> {
    let index = faults.iter().position(|fault| fault.concerns(function, gpu))?;
    let fault = faults.get_mut(index)?;
    if fault.after > 0 {
        fault.after -= 1;
        return None;
    }
    let effect = fault.effect;
    if let Occurrence::Times(left) = &mut fault.occurrence {
        *left = left.saturating_sub(1);
        if *left == 0 {
            faults.remove(index);
        }
    }
    Some(effect)
}
