//! Health of one GPU, as every daemon speaks of it. The rules that decide it live elsewhere.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::failure;

/// Whether work may be placed on a GPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Health {
    /// Work may be placed on it.
    Healthy,
    /// No work may be placed on it.
    Unhealthy {
        /// Why not.
        reason: HealthReason,
    },
    /// It could not be asked; consumers keep the last known state for a while.
    Unknown {
        /// Why it could not be asked.
        reason: HealthReason,
    },
}

/// Why a GPU is not healthy. Each prints as a short code that is stable across releases.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum HealthReason {
    /// The driver reported this XID, and it is one that needs a reset or worse.
    Xid {
        /// NVIDIA's XID number.
        xid: u64,
    },
    /// The driver says that it lost the GPU.
    Lost,
    /// The driver no longer lists a GPU that it listed before.
    Vanished,
    /// A call on this GPU fails.
    CallFailed {
        /// The C function that failed.
        call: String,
        /// Its return code, as in `nvmlReturn_t`, or one of [`crate::failure`].
        failure: u32,
    },
    /// The driver itself asks for a recovery of the GPU.
    RecoveryWanted {
        /// What it asks for, such as `reset` or `reboot`.
        action: String,
    },
    /// NVML did not answer in time.
    NvmlStuck,
    /// NVML crashed, or answered nonsense.
    NvmlFailed,
    /// There is no driver to ask.
    NoDriver,
}

impl fmt::Display for HealthReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HealthReason::Xid { xid } => write!(f, "xid-{xid}"),
            HealthReason::Lost => f.write_str("gpu-lost"),
            HealthReason::Vanished => f.write_str("gpu-vanished"),
            HealthReason::CallFailed { call, failure } => {
                write!(f, "call-failed({call}={})", failure::describe(*failure))
            }
            HealthReason::RecoveryWanted { action } => write!(f, "recovery-{action}"),
            HealthReason::NvmlStuck => f.write_str("nvml-stuck"),
            HealthReason::NvmlFailed => f.write_str("nvml-failed"),
            HealthReason::NoDriver => f.write_str("no-driver"),
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Health::Healthy => f.write_str("Healthy"),
            Health::Unhealthy { reason } => write!(f, "Unhealthy({reason})"),
            Health::Unknown { reason } => write!(f, "Unknown({reason})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_in_json_names_state_and_reason_code() {
        let health = Health::Unhealthy { reason: HealthReason::Xid { xid: 79 } };
        assert_eq!(
            serde_json::to_string(&health).unwrap(),
            r#"{"state":"unhealthy","reason":{"code":"xid","xid":79}}"#
        );
        assert_eq!(health.to_string(), "Unhealthy(xid-79)");
    }

    #[test]
    fn failed_call_prints_the_number_of_nvml_and_words_for_ours() {
        let failed = |failure| HealthReason::CallFailed { call: "nvmlDeviceGetName".into(), failure };
        assert_eq!(failed(23).to_string(), "call-failed(nvmlDeviceGetName=23)");
        assert_eq!(failed(failure::NO_RETURN).to_string(), "call-failed(nvmlDeviceGetName=no-return)");
    }
}
