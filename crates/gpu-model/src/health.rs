//! Health of one GPU or GPU instance, as every daemon speaks of it. The rules that decide it live in `gpu-health`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::failure;

/// The XID of an NVLink error, by NVIDIA's catalogue.
const NVLINK_XID: u64 = 74;

/// Whether work may be placed on a GPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Health {
    /// Work may be placed on it.
    Healthy,
    /// Work may be placed on it, and something is not as it should be: for metrics and events.
    Degraded {
        /// What is wrong, each once.
        reasons: Vec<HealthReason>,
    },
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
    /// The driver reported this XID.
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
    /// A row of its memory waits to be remapped at the next reset.
    RemapPending,
    /// A row of its memory could not be remapped: the GPU is to be replaced.
    RemapFailed,
    /// Its SRAM had more uncorrectable errors than NVIDIA's threshold for a replacement.
    SramErrors,
    /// NVLinks are down that were up.
    NvlinkDown {
        /// How many.
        links: u32,
    },
    /// It is not a working part of its NVLink fabric.
    Fabric {
        /// What the driver says of the fabric, such as `in-progress` or `route-unhealthy`.
        state: String,
    },
    /// Heat or power has slowed it down for minutes.
    Slowdown {
        /// What slows it: `hw-thermal`, `sw-thermal`, `power-brake` or `hw`.
        by: String,
    },
    /// A person took it out of service.
    Fenced,
    /// Somebody has leased it, such as for an upgrade of the driver or a change of MIG; or had, and it was not seen anew yet.
    Reconfiguring,
    /// NVML did not answer in time.
    NvmlStuck,
    /// NVML crashed, or answered nonsense.
    NvmlFailed,
    /// There is no driver to ask.
    NoDriver,
    /// What was kept of it cannot be read: it may have been anything.
    RecordUnreadable,
    /// What only another version of Gantry knows. It keeps its weight: such a GPU is as ill as that version said.
    #[serde(untagged)]
    Unrecognised {
        /// That version's code for it.
        code: String,
    },
}

impl Health {
    /// Whether the kubelet may place work on it. An Unknown one is still what it was before.
    pub fn is_schedulable(&self) -> bool {
        !matches!(self, Health::Unhealthy { .. })
    }

    /// Whether its NVLinks are not to be relied on: by XID 74, by a link that is down, or by its fabric.
    pub fn has_link_trouble(&self) -> bool {
        let of_links = |reason: &HealthReason| match reason {
            HealthReason::Xid { xid } => *xid == NVLINK_XID,
            HealthReason::NvlinkDown { .. } | HealthReason::Fabric { .. } => true,
            _ => false,
        };
        self.reasons().iter().any(of_links)
    }

    /// All that is wrong; nothing for a healthy one.
    pub fn reasons(&self) -> &[HealthReason] {
        match self {
            Health::Healthy => &[],
            Health::Degraded { reasons } => reasons,
            Health::Unhealthy { reason } | Health::Unknown { reason } => std::slice::from_ref(reason),
        }
    }
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
            HealthReason::RemapPending => f.write_str("remap-pending"),
            HealthReason::RemapFailed => f.write_str("remap-failed"),
            HealthReason::SramErrors => f.write_str("sram-errors"),
            HealthReason::NvlinkDown { .. } => f.write_str("nvlink-down"),
            HealthReason::Fabric { state } => write!(f, "fabric-{state}"),
            HealthReason::Slowdown { by } => write!(f, "slowdown-{by}"),
            HealthReason::Fenced => f.write_str("fenced"),
            HealthReason::Reconfiguring => f.write_str("reconfiguring"),
            HealthReason::NvmlStuck => f.write_str("nvml-stuck"),
            HealthReason::NvmlFailed => f.write_str("nvml-failed"),
            HealthReason::NoDriver => f.write_str("no-driver"),
            HealthReason::RecordUnreadable => f.write_str("record-unreadable"),
            HealthReason::Unrecognised { code } => f.write_str(code),
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Health::Healthy => return f.write_str("Healthy"),
            Health::Degraded { .. } => "Degraded",
            Health::Unhealthy { .. } => "Unhealthy",
            Health::Unknown { .. } => "Unknown",
        };
        let reasons: Vec<String> = self.reasons().iter().map(ToString::to_string).collect();
        write!(f, "{name}({})", reasons.join(", "))
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
    fn degraded_health_names_all_its_reasons_and_stays_schedulable() {
        let reasons = vec![HealthReason::RemapPending, HealthReason::NvlinkDown { links: 2 }];
        let health = Health::Degraded { reasons };
        assert_eq!(
            serde_json::to_string(&health).unwrap(),
            r#"{"state":"degraded","reasons":[{"code":"remap-pending"},{"code":"nvlink-down","links":2}]}"#
        );
        assert_eq!(health.to_string(), "Degraded(remap-pending, nvlink-down)");
        assert!(health.is_schedulable());
        assert!(!Health::Unhealthy { reason: HealthReason::Fenced }.is_schedulable());
    }

    #[test]
    fn reason_of_a_later_version_keeps_its_code_and_the_state_its_weight() {
        let told = r#"{"state":"unhealthy","reason":{"code":"melted","at":900}}"#;
        let health: Health = serde_json::from_str(told).unwrap();
        assert_eq!((health.to_string().as_str(), health.is_schedulable()), ("Unhealthy(melted)", false));
        assert_eq!(serde_json::to_string(&health).unwrap(), told.replace(",\"at\":900", ""));
        assert!(serde_json::from_str::<Health>(&told.replace("unhealthy", "molten")).is_err());
    }

    #[test]
    fn failed_call_prints_the_number_of_nvml_and_words_for_ours() {
        let failed = |failure| HealthReason::CallFailed { call: "nvmlDeviceGetName".into(), failure };
        assert_eq!(failed(23).to_string(), "call-failed(nvmlDeviceGetName=23)");
        assert_eq!(failed(failure::NO_RETURN).to_string(), "call-failed(nvmlDeviceGetName=no-return)");
    }
}
