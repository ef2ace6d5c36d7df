//! A lease: GPUs that somebody takes for himself for a while, such as for a driver upgrade or a change of MIG. What it
//! says, and whether it counts; files and locks are in `folder`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use gpu_health::Moment;
use gpu_model::{GpuUuid, ResourceName};
use jiff::Timestamp;
use node_host::BootId;
use serde::{Deserialize, Serialize};

use crate::requests::{self, InvalidRequest, MAX_WHO, Named};

mod folder;
mod heeded;
mod pace;

pub use folder::{
    AcquireError, Answers, EndError, FoundLease, LeaseError, LeaseFolder, LeaseHold, Presence, ReleaseRequest,
};
pub use heeded::{HeedTrouble, Heeded, HeededLeases, LeaseLook};
pub use pace::Pace;

/// Version of the file's form. Version 1 is not frozen before the first release.
const SCHEMA_VERSION: u32 = 1;

/// The folder of leases below the run folder (`/run/gantry`). Only root may enter it.
pub const LEASES_PATH: &str = "leases";

/// What the device plugin's name begins with among the daemons that are there; what follows the dot tells its instances apart.
pub const PLUGIN_PRESENCE: &str = "gpu-device-plugin";

/// Whether a name among those that are there is an instance of this daemon.
pub fn is_daemon(name: &str, daemon: &str) -> bool {
    name.split_once('.').is_some_and(|(of, _)| of == daemon)
}

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
    /// Who took it: a person.
    pub who: String,
    /// The process that holds it.
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

impl Named for Lease {
    fn id(&self) -> &str {
        &self.id
    }

    fn check(&self) -> Result<(), InvalidRequest> {
        if self.gpus.is_empty() {
            let hint = "expected at least one GPU".to_owned();
            return Err(InvalidRequest { field: "gpus", given: String::new(), hint });
        }
        requests::check_line("purpose", &self.purpose, MAX_PURPOSE)?;
        requests::check_line("who", &self.who, MAX_WHO)
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
    /// What it saw when it let go, and has seen since.
    pub observed: Observed,
}

/// What a daemon saw of a lease's GPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// The generation of each resource's device list in which they were unhealthy, as it was handed to the kubelet.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lists: BTreeMap<ResourceName, u64>,
    /// Why the kubelet did not confirm that it counts them no more, and tells of no pods; absent when it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unconfirmed: Option<String>,
    /// How many of their devices and shares pods hold. The owner decides what to make of it.
    pub held: usize,
    /// The first of them, at most [`MAX_HOLDERS`].
    pub holders: Vec<Holder>,
}

/// A device or share that a pod holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Holder {
    /// `namespace/name` of the pod; absent where only its device is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Under which resource.
    pub resource: ResourceName,
    /// Which id.
    pub id: String,
}

/// The most holders that an acknowledgement names.
pub const MAX_HOLDERS: usize = 256;

impl Acknowledgement {
    /// One of this moment.
    pub fn new(lease: &str, presence: &Presence, mut observed: Observed) -> Acknowledgement {
        observed.holders.truncate(MAX_HOLDERS);
        let (lease, daemon) = (lease.to_owned(), presence.name().to_owned());
        Acknowledgement { schema_version: SCHEMA_VERSION, lease, daemon, at: Timestamp::now(), observed }
    }
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRequest {
    /// Which GPUs.
    pub gpus: BTreeSet<GpuUuid>,
    /// What for, in words.
    pub purpose: String,
    /// Who asks: a person.
    pub who: String,
    /// For how long.
    pub duration: Duration,
    /// In which boot.
    pub boot: BootId,
}
