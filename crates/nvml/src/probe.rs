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
    /// How it is partitioned; not asked of a GPU that does not answer.
    pub mig: Reading<MigOutline>,
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
