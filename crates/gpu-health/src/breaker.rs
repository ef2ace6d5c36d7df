//! The breaker: one cause other than an XID never takes more than half of a node's GPUs within five minutes, unless
//! each of the others was found sick again later. Pure; it counts and says no, and the ledger asks it.

use std::time::Duration;

use gpu_model::{GpuUuid, HealthReason};
use serde::{Deserialize, Serialize};

/// How long a GPU that was taken counts.
pub const BREAKER_WINDOW: Duration = Duration::from_secs(300);

/// GPUs that went without a second look, by cause.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Breaker {
    taken: Vec<Taken>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Taken {
    cause: String,
    gpu: GpuUuid,
    up: Duration,
}

impl Breaker {
    /// Whether `cause` may take `gpu`, one of `count`, without a second look at it; if so, it counts.
    /// A single GPU may always go: half of it is none.
    pub fn admits(&mut self, cause: &HealthReason, gpu: &GpuUuid, count: usize, now: Duration) -> bool {
        self.taken.retain(|taken| taken.up + BREAKER_WINDOW > now && taken.up <= now);
        let cause = kind(cause);
        let others = self.taken.iter().filter(|taken| taken.cause == cause && taken.gpu != *gpu).count();
        if others >= (count / 2).max(1) {
            return false;
        }
        self.taken.retain(|taken| taken.cause != cause || taken.gpu != *gpu);
        self.taken.push(Taken { cause: cause.to_owned(), gpu: gpu.clone(), up: now });
        true
    }

    /// When it may admit the next GPU for `cause`, if it is full until then.
    pub fn frees_at(&self, cause: &HealthReason) -> Option<Duration> {
        let cause = kind(cause);
        let of_cause = self.taken.iter().filter(|taken| taken.cause == cause);
        of_cause.map(|taken| taken.up + BREAKER_WINDOW).min()
    }
}

/// What counts as one cause: the kind of fault, whatever its details.
fn kind(reason: &HealthReason) -> &'static str {
    match reason {
        HealthReason::Xid { .. } => "xid",
        HealthReason::Lost => "lost",
        HealthReason::Vanished => "vanished",
        HealthReason::CallFailed { .. } => "call-failed",
        HealthReason::RecoveryWanted { .. } => "recovery-wanted",
        HealthReason::RemapPending => "remap-pending",
        HealthReason::RemapFailed => "remap-failed",
        HealthReason::SramErrors => "sram-errors",
        HealthReason::NvlinkDown { .. } => "nvlink-down",
        HealthReason::Fabric { .. } => "fabric",
        HealthReason::Slowdown { .. } => "slowdown",
        HealthReason::Fenced => "fenced",
        HealthReason::Reconfiguring => "reconfiguring",
        HealthReason::NvmlStuck => "nvml-stuck",
        HealthReason::NvmlFailed => "nvml-failed",
        HealthReason::NoDriver => "no-driver",
        HealthReason::RecordUnreadable => "record-unreadable",
        HealthReason::Unrecognised { .. } => "unrecognised",
    }
}
