//! Faults that wait for calls: a wrong return code, a hang, a crash, or something that befalls a GPU. It decides which call is
//! struck; it neither hangs nor crashes itself.

mod befalling;
mod declared;
mod when;

use serde::{Deserialize, Serialize};

use crate::incidents::Befall;
use crate::latency::fits;

pub use declared::{Declared, FaultEntry, FaultError};
pub(crate) use when::spread;
pub use when::{Chance, Moment, ParseMomentError, ParseProbabilityError, Probability};

/// A fault that waits for calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Fault {
    /// Function name, or its beginning and `*`.
    pub function: String,
    /// UUID of the GPU whose calls it concerns: those that take its handle first. Absent: any call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
    /// What happens to a struck call.
    pub effect: Effect,
    /// From when, by the node's clock, it concerns calls; at once where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Moment>,
    /// Calls that pass before the first is struck.
    #[serde(default)]
    pub after: u32,
    /// Which part of the calls is struck then; each where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chance: Option<Chance>,
    /// How many calls are struck.
    pub occurrence: Occurrence,
}

/// What a fault does to a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Returns this code and does nothing else.
    Return(u32),
    /// Blocks until the fault is cleared or the process is killed.
    Hang,
    /// Blocks in the kernel, beyond the reach of SIGKILL, until it thaws.
    Freeze,
    /// Ends the process by SIGSEGV.
    Crash,
    /// Lets it succeed with nonsense where it would succeed.
    Garbage {
        /// Which nonsense.
        seed: u64,
    },
    /// Befalls the fault's GPU, or the node; the call goes on and sees what has become of it.
    Befall(Befall),
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

/// A call, as far as faults ask about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallSite<'a> {
    /// The function.
    pub function: &'a str,
    /// UUID of the GPU whose handle it takes first.
    pub gpu: Option<&'a str>,
    /// The node's time, in microseconds since 1970.
    pub now_us: u64,
}

impl Fault {
    /// A fault that strikes each call of a function from now on.
    pub fn new(function: impl Into<String>, effect: Effect) -> Fault {
        Fault {
            function: function.into(),
            gpu: None,
            effect,
            at: None,
            after: 0,
            chance: None,
            occurrence: Occurrence::Always,
        }
    }

    /// Whether a call meets this fault: its function and GPU are concerned, and its time has come.
    pub fn concerns(&self, call: CallSite<'_>) -> bool {
        fits(&self.function, call.function)
            && self.gpu.as_deref().is_none_or(|own| call.gpu == Some(own))
            && self.at.is_none_or(|at| at.is_reached(call.now_us))
    }

    /// Turns a time from now into one of the node's clock.
    pub fn begin(&mut self, now_us: u64) {
        self.at = self.at.map(|at| at.from(now_us));
    }
}

/// Counts one call against the faults that concern it, and gives the one that strikes it: the first that need not let
/// it pass. A struck call does not count for the faults behind that one.
pub fn strike(faults: &mut Vec<Fault>, call: CallSite<'_>) -> Option<Fault> {
    let concerned = faults.iter_mut().enumerate().filter(|(_, fault)| fault.concerns(call));
    for (index, fault) in concerned {
        if fault.after > 0 {
            fault.after -= 1;
            continue;
        }
        if fault.chance.as_mut().is_some_and(|chance| !chance.draw()) {
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
