//! A lease: GPUs that somebody takes for himself for a while, such as for a driver upgrade or a change of MIG. What it
//! says, and whether it counts; files and locks are in `folder`.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use gpu_health::Moment;
use gpu_model::GpuUuid;
use jiff::Timestamp;
use node_host::BootId;
use serde::{Deserialize, Serialize};

mod folder;

pub use folder::{AcquireError, FoundLease, LeaseError, LeaseFolder, LeaseHold, Presence};

/// Version of the file's form. Version 1 is not frozen before the first release.
const SCHEMA_VERSION: u32 = 1;

/// The folder of leases below the run folder (`/run/gantry`). Only root may enter it.
pub const LEASES_PATH: &str = "leases";

/// Longest purpose, in characters.
const MAX_PURPOSE: usize = 256;

/// The longest that a lease may be for. Who needs more takes another one.
pub const LONGEST_LEASE: Duration = Duration::from_secs(24 * 60 * 60);

/// A lease as its file has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    schema_version: u32,
    /// Its name, unique on the node.
    pub id: String,
    /// Which GPUs.
    pub gpus: BTreeSet<GpuUuid>,
    /// What for, in words.
    pub purpose: String,
    /// Who holds it.
    pub owner: LeaseOwner,
    /// The boot in which it was taken.
    pub boot_id: BootId,
    /// When it was taken, for people.
    pub taken_at: Timestamp,
    /// When it ends by itself, for people.
    pub expires_at: Timestamp,
    /// When it ends by itself, in milliseconds since the boot: a clock that is set neither shortens nor lengthens it.
    pub expires_up_ms: u64,
}

/// The process that holds a lease, for people. Whether it lives, its lock says, also where its pid means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseOwner {
    /// Process id, in its own pid namespace.
    pub pid: u32,
    /// When it was started, in clock ticks since the boot: field 22 of `/proc/<pid>/stat`.
    pub start_ticks: u64,
}

/// Whether a lease counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// It counts.
    Live,
    /// Its time is over.
    Expired,
    /// Its owner has ended without giving it back.
    OwnerDead,
    /// It was taken before the machine was started anew.
    OtherBoot,
}

impl fmt::Display for LeaseState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LeaseState::Live => "live",
            LeaseState::Expired => "expired",
            LeaseState::OwnerDead => "owner dead",
            LeaseState::OtherBoot => "of another boot",
        })
    }
}

impl Lease {
    /// Whether it counts in this boot at this moment; `is_locked`: its owner has its lock.
    pub fn state(&self, boot: &BootId, now: Moment, is_locked: bool) -> LeaseState {
        if self.boot_id != *boot {
            LeaseState::OtherBoot
        } else if !is_locked {
            LeaseState::OwnerDead
        } else if now.up >= Duration::from_millis(self.expires_up_ms) {
            LeaseState::Expired
        } else {
            LeaseState::Live
        }
    }
}

/// What a daemon says when it has let go of a lease's GPUs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    schema_version: u32,
    /// The lease.
    pub lease: String,
    /// The daemon, by the name of its presence.
    pub daemon: String,
    /// When.
    pub at: Timestamp,
    /// Ids of devices of these GPUs that pods hold still, as the kubelet tells. The owner decides what to make of it.
    pub held: BTreeSet<String>,
}

impl Acknowledgement {
    /// One of this moment.
    pub fn new(lease: &Lease, presence: &Presence, held: BTreeSet<String>) -> Acknowledgement {
        let (lease, daemon) = (lease.id.clone(), presence.name().to_owned());
        Acknowledgement { schema_version: SCHEMA_VERSION, lease, daemon, at: Timestamp::now(), held }
    }
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRequest {
    /// Which GPUs.
    pub gpus: BTreeSet<GpuUuid>,
    /// What for, in words.
    pub purpose: String,
    /// For how long.
    pub duration: Duration,
    /// In which boot.
    pub boot: BootId,
}
