//! Evidence to health: a ledger of what is known of each GPU. Pure: time arrives as a value, and nothing
//! here asks a driver.
//!
//! ```text
//!              critical XID, lost, vanished, driver asks for recovery
//!        +------------------------------------------------------+
//!        |                                                      v
//!    Healthy --- no answer ---> Unknown --- 60 s ---> Unhealthy    Unhealthy, condemned
//!        ^                         |                      |        (until the plugin restarts)
//!        +------- a probe answers -+----------------------+
//! ```
//!
//! A condemned GPU keeps its first reason: what follows a fallen GPU are consequences. Towards the kubelet
//! an Unknown GPU is still what it was before, for as long as [`GRACE`].

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gpu_model::{GpuUuid, Health, HealthReason, failure};

use crate::xid::{self, XidClass};

pub mod evidence;

/// How long a GPU that cannot be asked keeps its last projection towards the kubelet.
pub const GRACE: Duration = Duration::from_secs(60);

/// `NVML_ERROR_GPU_IS_LOST`.
pub const GPU_IS_LOST: u32 = 15;

/// `NVML_ERROR_RESET_REQUIRED`: the driver itself refuses the GPU until it is reset.
const RESET_REQUIRED: u32 = 16;

/// One thing that was learnt about GPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The driver lists this GPU and answered for it.
    Listed(GpuUuid),
    /// The driver no longer lists this GPU.
    Vanished(GpuUuid),
    /// A probe of this GPU was answered, and the driver asks for no recovery.
    Answered(GpuUuid),
    /// A call on this GPU failed.
    Refused {
        /// The GPU.
        gpu: GpuUuid,
        /// The C function that failed.
        call: String,
        /// Its return code, as in `nvmlReturn_t`.
        code: u32,
    },
    /// The driver answers and asks for a recovery of this GPU.
    RecoveryWanted {
        /// The GPU.
        gpu: GpuUuid,
        /// What it asks for, such as `reset`.
        action: String,
    },
    /// The driver reported an XID.
    Xid {
        /// The GPU that raised it.
        gpu: GpuUuid,
        /// NVIDIA's number.
        xid: u64,
    },
    /// No GPU could be asked at all.
    Silent(HealthReason),
}

/// A change that is worth a log line and a count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Whose health changed.
    pub gpu: GpuUuid,
    /// What it was; none for a GPU seen for the first time.
    pub from: Option<Health>,
    /// What it is.
    pub to: Health,
}

/// What is known of each GPU that was ever listed. GPUs are never forgotten: a pod may hold one.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    gpus: BTreeMap<GpuUuid, Entry>,
}

#[derive(Clone, Debug)]
enum Entry {
    Healthy,
    Unknown { reason: HealthReason, since: Instant },
    Expired { reason: HealthReason },
    Condemned { reason: HealthReason },
}

impl Entry {
    fn health(&self) -> Health {
        match self {
            Entry::Healthy => Health::Healthy,
            Entry::Unknown { reason, .. } => Health::Unknown { reason: reason.clone() },
            Entry::Expired { reason } | Entry::Condemned { reason } => {
                Health::Unhealthy { reason: reason.clone() }
            }
        }
    }
}

impl Ledger {
    /// Takes in `evidence` and gives the changes that it made.
    pub fn take(&mut self, evidence: &Evidence, now: Instant) -> Vec<Transition> {
        let change = match evidence {
            Evidence::Listed(gpu) => self.answered(gpu),
            Evidence::Answered(gpu) if self.gpus.contains_key(gpu) => self.answered(gpu),
            Evidence::Answered(_) => None,
            Evidence::Vanished(gpu) => self.condemn(gpu, HealthReason::Vanished),
            Evidence::Refused { gpu, call, code } => self.refused(gpu, call, *code, now),
            Evidence::RecoveryWanted { gpu, action } => {
                self.condemn(gpu, HealthReason::RecoveryWanted { action: action.clone() })
            }
            Evidence::Xid { gpu, xid } => match xid::row_of(*xid).map(|row| row.class) {
                Some(XidClass::Critical) => self.condemn(gpu, HealthReason::Xid { xid: *xid }),
                _ => None,
            },
            Evidence::Silent(reason) => {
                let all: Vec<GpuUuid> = self.gpus.keys().cloned().collect();
                return all.iter().filter_map(|gpu| self.unknown(gpu, reason.clone(), now)).collect();
            }
        };
        change.into_iter().collect()
    }

    /// Turns GPUs that have been Unknown for [`GRACE`] into Unhealthy ones.
    pub fn expire(&mut self, now: Instant) -> Vec<Transition> {
        let mut changes = Vec::new();
        for (gpu, entry) in &mut self.gpus {
            let next = match entry {
                Entry::Unknown { reason, since } if now.saturating_duration_since(*since) >= GRACE => {
                    Entry::Expired { reason: reason.clone() }
                }
                _ => continue,
            };
            changes.push(Transition { gpu: gpu.clone(), from: Some(entry.health()), to: next.health() });
            *entry = next;
        }
        changes
    }

    /// When [`Ledger::expire`] will have something to do, if ever.
    pub fn next_expiry(&self) -> Option<Instant> {
        let since = |entry: &Entry| match entry {
            Entry::Unknown { since, .. } => Some(*since + GRACE),
            _ => None,
        };
        self.gpus.values().filter_map(since).min()
    }

    /// Health of one GPU, if it was ever listed.
    pub fn health(&self, gpu: &GpuUuid) -> Option<Health> {
        self.gpus.get(gpu).map(Entry::health)
    }

    fn answered(&mut self, gpu: &GpuUuid) -> Option<Transition> {
        match self.gpus.get(gpu) {
            Some(Entry::Healthy | Entry::Condemned { .. }) => None,
            None | Some(Entry::Unknown { .. } | Entry::Expired { .. }) => Some(self.set(gpu, Entry::Healthy)),
        }
    }

    fn refused(&mut self, gpu: &GpuUuid, call: &str, code: u32, now: Instant) -> Option<Transition> {
        let failed = HealthReason::CallFailed { call: call.to_owned(), failure: code };
        match code {
            // The call was given up, not refused.
            failure::NO_RETURN => self.unknown(gpu, HealthReason::NvmlStuck, now),
            failure::CRASH => self.unknown(gpu, HealthReason::NvmlFailed, now),
            GPU_IS_LOST => self.condemn(gpu, HealthReason::Lost),
            RESET_REQUIRED => self.condemn(gpu, failed),
            _ => self.unknown(gpu, failed, now),
        }
    }

    fn condemn(&mut self, gpu: &GpuUuid, reason: HealthReason) -> Option<Transition> {
        match self.gpus.get(gpu) {
            None | Some(Entry::Condemned { .. }) => None,
            Some(_) => Some(self.set(gpu, Entry::Condemned { reason })),
        }
    }

    fn unknown(&mut self, gpu: &GpuUuid, reason: HealthReason, now: Instant) -> Option<Transition> {
        match self.gpus.get(gpu) {
            Some(Entry::Healthy) => Some(self.set(gpu, Entry::Unknown { reason, since: now })),
            _ => None,
        }
    }

    fn set(&mut self, gpu: &GpuUuid, entry: Entry) -> Transition {
        let to = entry.health();
        let from = self.gpus.insert(gpu.clone(), entry).map(|entry| entry.health());
        Transition { gpu: gpu.clone(), from, to }
    }
}

/// Whether the kubelet may place work on a GPU of this health.
pub fn is_schedulable(health: &Health) -> bool {
    health.is_schedulable()
}

#[cfg(test)]
mod tests;
