//! What a change of health is, as a record for logs, metrics and people. No rule stands here.

use std::fmt;
use std::str::FromStr;

use gpu_model::{GpuUuid, Health, HealthReason};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::evidence::Moment;
use crate::xid;

/// Whose health it is. Prints as `GPU-…`, or `GPU-…/gi3` for a GPU instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subject {
    /// The GPU.
    pub gpu: GpuUuid,
    /// The GPU instance of it; none for the GPU itself.
    pub gpu_instance: Option<u32>,
}

/// A text that names neither a GPU nor a GPU instance.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{given:?} is neither a GPU nor a GPU instance: expected GPU-<uuid> or GPU-<uuid>/gi<number>")]
pub struct ParseSubjectError {
    given: String,
}

impl Subject {
    /// The GPU itself.
    pub fn gpu(gpu: GpuUuid) -> Subject {
        Subject { gpu, gpu_instance: None }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.gpu_instance {
            None => self.gpu.fmt(f),
            Some(instance) => write!(f, "{}/gi{instance}", self.gpu),
        }
    }
}

impl FromStr for Subject {
    type Err = ParseSubjectError;

    fn from_str(given: &str) -> Result<Subject, ParseSubjectError> {
        let wrong = || ParseSubjectError { given: given.to_owned() };
        let (gpu, gpu_instance) = match given.split_once("/gi") {
            None => (given, None),
            // Digits alone: parsing would take a sign, too.
            Some((gpu, digits)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                (gpu, Some(digits.parse().map_err(|_| wrong())?))
            }
            Some(_) => return Err(wrong()),
        };
        Ok(Subject { gpu: gpu.parse().map_err(|_| wrong())?, gpu_instance })
    }
}

impl TryFrom<String> for Subject {
    type Error = ParseSubjectError;

    fn try_from(given: String) -> Result<Subject, ParseSubjectError> {
        given.parse()
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> String {
        subject.to_string()
    }
}

/// A person's word about a GPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// Who gave it.
    pub who: String,
    /// Why.
    pub why: String,
    /// When, in milliseconds since 1970.
    pub unix_ms: u64,
}

/// What brought a change about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// An inventory.
    Inventory,
    /// A probe of the GPU.
    Probe,
    /// An XID.
    Xid,
    /// The driver did not answer.
    Silence,
    /// The GPU could not be asked for as long as the grace lasts.
    GraceOver,
    /// A Degraded state had its time, and nothing new came.
    TimeOver,
    /// A person.
    Person,
    /// A lease, or its end.
    Lease,
}

impl Cause {
    /// Its name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Inventory => "inventory",
            Cause::Probe => "probe",
            Cause::Xid => "xid",
            Cause::Silence => "silence",
            Cause::GraceOver => "grace-over",
            Cause::TimeOver => "time-over",
            Cause::Person => "person",
            Cause::Lease => "lease",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A change that is worth a log line and a count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Whose health changed.
    pub subject: Subject,
    /// What it was; none for one that is seen for the first time.
    pub from: Option<Health>,
    /// What it is.
    pub to: Health,
    /// What brought it about.
    pub cause: Cause,
    /// When.
    pub at: Moment,
}

/// What a person can do about `reason`.
pub fn what_to_do(reason: &HealthReason) -> &'static str {
    match reason {
        HealthReason::Xid { xid } => {
            xid::row_of(*xid).map_or("look the XID up in NVIDIA's catalogue", |row| row.todo)
        }
        HealthReason::Lost | HealthReason::Vanished => {
            "look for XID 79 in the kernel log; drain and reboot the node, then check seating and power"
        }
        HealthReason::CallFailed { .. } => {
            "look for XIDs in the kernel log; drain and reset the GPU if it stays"
        }
        HealthReason::RecoveryWanted { action } => match action.as_str() {
            "reset" => "drain and reset the GPU",
            "reboot" => "drain and reboot the node",
            "drain-p2p" => "end the work of GPUs that talk to this one, then look again",
            "drain-and-reset" => "let the present work end, then reset the GPU",
            "recover-imex-domain" => "recover the IMEX domain",
            _ => "see what nvidia-smi says of the recovery action",
        },
        HealthReason::RemapPending => "reset the GPU when it is idle",
        HealthReason::RemapFailed => "have the GPU replaced",
        HealthReason::SramErrors => "have the GPU looked at: NVIDIA replaces it above this threshold",
        HealthReason::NvlinkDown { .. } => "see nvidia-smi nvlink; reset the GPU when it is idle",
        HealthReason::Fabric { .. } => "see the log of the fabric manager",
        HealthReason::Slowdown { .. } => "check cooling and power",
        HealthReason::Fenced => "gpu-device-plugin health clear, when the reason is gone",
        HealthReason::Reconfiguring => "gpu-device-plugin lease list says who has it, and until when",
        HealthReason::NvmlStuck => "look for a hanging driver in the kernel log; reboot the node if it stays",
        HealthReason::NvmlFailed => "look for XIDs in the kernel log; check the driver's installation",
        HealthReason::NoDriver => "load or install the driver",
        HealthReason::RecordUnreadable => {
            "see the log of the plugin's start; gpu-device-plugin health clear, when the GPU was found to be well"
        }
        HealthReason::Unrecognised { .. } => {
            "see what the version of Gantry that found it says; gpu-device-plugin health clear, when it is over"
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GPU: &str = "GPU-00000000-0000-0000-0000-000000000001";

    #[test]
    fn subject_parses_from_what_it_prints_and_nothing_else() {
        for text in [GPU.to_owned(), format!("{GPU}/gi0"), format!("{GPU}/gi13")] {
            assert_eq!(text.parse::<Subject>().unwrap().to_string(), text);
        }
        for text in ["", "3", &format!("{GPU}/gi"), &format!("{GPU}/gi+1"), &format!("{GPU}/gi99999999999")] {
            let error = text.parse::<Subject>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }

    proptest! {
        #[test]
        fn subject_of_any_text_never_panics(text: String, digits in "[0-9+-]{0,12}") {
            let _ = text.parse::<Subject>();
            let _ = format!("{GPU}/gi{digits}").parse::<Subject>();
        }
    }
}
