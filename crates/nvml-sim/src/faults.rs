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
    /// Whether a call of a function, on a GPU or on none, meets this fault.
    pub fn concerns(&self, function: &str, gpu: Option<&str>) -> bool {
        fits(&self.function, function) && self.gpu.as_deref().is_none_or(|own| gpu == Some(own))
    }
}

/// Counts one call of a function, on a GPU or on none, against the faults that concern it, and gives the one that
/// strikes it: the first that need not let it pass. A struck call does not count for the faults behind that one.
pub fn strike(faults: &mut Vec<Fault>, function: &str, gpu: Option<&str>) -> Option<Fault> {
    let concerned = faults.iter_mut().enumerate().filter(|(_, fault)| fault.concerns(function, gpu));
    for (index, fault) in concerned {
        if fault.after > 0 {
            fault.after -= 1;
            continue;
        }
        let struck = fault.clone();
        if let Occurrence::Times(left) = &mut fault.occurrence {
            *left = left.saturating_sub(1);
            if *left == 0 {
                faults.remove(index);
            }
        }
        return Some(struck);
    }
    None
}
