//! The cheap question whether each GPU still answers.

use gpu_model::{Gpu, GpuFailure, GpuUuid, MigOutline, Reading};
use serde::{Deserialize, Serialize};

/// What one GPU answered when probed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Index of this enumeration.
    pub index: u32,
    /// Its UUID; failed when it could not be identified.
    pub uuid: Reading<GpuUuid>,
    /// The first call that this GPU failed; `None` when it answers.
    pub failure: Option<GpuFailure>,
    /// What the driver wants done (field 230, from driver 550 on); not supported on older ones.
    pub recovery: Reading<RecoveryAction>,
    /// What else it says of itself; nothing of it makes a probe fail. Not asked of a GPU that does not answer.
    pub condition: Condition,
    /// How it is partitioned; not asked of a GPU that does not answer.
    pub mig: Reading<MigOutline>,
}

/// What a GPU that answers says of its own condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Rows of its memory.
    pub rows: Reading<Rows>,
    /// Whether uncorrectable errors of SRAM are above NVIDIA's threshold for a replacement. Only root is told.
    pub sram_over_threshold: Reading<bool>,
    /// NVLinks that are up. Not supported while MIG is on, which takes them all down.
    pub links_up: Reading<u32>,
    /// How it is in its NVLink fabric.
    pub fabric: Reading<Fabric>,
    /// What slows it down.
    pub slowdown: Reading<Slowdown>,
}

impl Condition {
    /// That of a GPU that was not asked.
    pub const NOT_ASKED: Condition = Condition {
        rows: Reading::NotSupported,
        sram_over_threshold: Reading::NotSupported,
        links_up: Reading::NotSupported,
        fabric: Reading::NotSupported,
        slowdown: Reading::NotSupported,
    };
}

/// How the remapping of memory rows stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    /// Whether some wait to be remapped at the next reset.
    pub pending: bool,
    /// Whether one could not be remapped.
    pub failed: bool,
}

/// How a GPU is in its NVLink fabric, `nvmlGpuFabricInfo_v2_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fabric {
    /// It has joined, and nothing is wrong.
    Well,
    /// It has not begun to join.
    NotStarted,
    /// It is joining.
    InProgress,
    /// It could not join.
    Failed,
    /// Some of the bandwidth is missing.
    DegradedBandwidth,
    /// Routes are being recovered.
    RouteRecovery,
    /// A route is unhealthy.
    RouteUnhealthy,
    /// Recovering from an access that timed out.
    AccessTimeout,
    /// The fabric is configured wrongly.
    Misconfigured,
}

/// What slows a GPU's clocks down beyond what it was told; the gravest, if there are several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Slowdown {
    /// Nothing.
    None,
    /// The hardware, since it is hot.
    HwThermal,
    /// The hardware, since the machine asks for less power.
    PowerBrake,
    /// The hardware, by heat or power.
    Hw,
    /// The driver, since it is hot.
    SwThermal,
}

/// What the driver wants done to bring a GPU back, `nvmlDeviceGpuRecoveryAction_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecoveryAction {
    /// Nothing: the GPU is well.
    None,
    /// Reset the GPU.
    Reset,
    /// Reboot the node.
    Reboot,
    /// Quiesce the peer-to-peer traffic, then ask again: the action may be another one by then.
    DrainP2p,
    /// Stop new work, let the present end, then reset.
    DrainAndReset,
    /// Recover the IMEX domain that the GPU is in.
    RecoverImexDomain,
    /// A number that is not listed here.
    Other(u64),
}

impl Probe {
    /// Whether the GPU answers and the driver wants nothing done.
    pub fn is_well(&self) -> bool {
        let wanted = self.recovery.value().is_some_and(|action| *action != RecoveryAction::None);
        self.failure.is_none() && !wanted
    }

    /// Whether this is the GPU, partitioned otherwise than when it was looked at.
    pub fn is_repartitioned(&self, gpu: &Gpu) -> bool {
        self.uuid.value() == Some(&gpu.uuid) && gpu.is_repartitioned(&self.mig)
    }
}
