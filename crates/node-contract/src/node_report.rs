//! The node's GPUs and their health, as the device plugin sees them: `device-plugin/inventory.json` in the
//! run folder. The exporter and the validator read it.

use std::collections::BTreeMap;

use gpu_model::{GpuUuid, Health, HealthReason, Inventory};
use jiff::Timestamp;
use node_host::{BootId, LocalPath};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::strict::{self, ReadError, WriteError};

/// Version of the file's form. A reader refuses any other. Version 1 is not frozen before the first release: until then
/// its form may change, and writer and readers are of one build.
pub const SCHEMA_VERSION: u32 = 1;

/// Where the file stands below the run folder (`/run/gantry`).
pub const REPORT_PATH: &str = "device-plugin/inventory.json";

/// Readable by every daemon, written by its owner.
const FILE_MODE: u32 = 0o644;

/// The node's GPUs and their health, as one moment found them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// Grows with each change of inventory, health or what is offered, from 1 in each process of the writer.
    pub generation: u64,
    /// The boot that it is about: a report of another boot says nothing about now.
    pub boot_id: BootId,
    /// When it was written.
    pub written_at: Timestamp,
    /// The GPUs.
    pub inventory: Inventory,
    /// The health of each GPU of the inventory, and of GPUs that were there earlier in the writer's process.
    pub health: BTreeMap<GpuUuid, HealthRecord>,
}

/// How one GPU is, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthRecord {
    /// How it is, its instances apart.
    pub health: Health,
    /// Since when.
    pub since: Timestamp,
    /// Why the kubelet is told that no work can be placed on it although its health would allow that, such as a device
    /// node that is missing. Absent for a GPU that is offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_offered: Option<String>,
    /// What brought its health about: `inventory`, `probe`, `xid`, `silence`, `grace-over`, `time-over`, `person` or
    /// `lease`.
    /// Absent where the writer has not seen it change, as after its restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Its GPU instances against which something was held, by id: each as it is by itself. One that is not here is as
    /// its GPU.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub instances: BTreeMap<u32, InstanceHealth>,
}

/// How one GPU instance is by itself, its GPU apart, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceHealth {
    /// How it is.
    pub health: Health,
    /// Since when.
    pub since: Timestamp,
}

/// Whether a report is about this boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It is.
    ThisBoot,
    /// It was left behind by another boot: device numbers and health in it mean nothing now.
    OtherBoot {
        /// The boot that it is about.
        theirs: BootId,
    },
}

impl NodeReport {
    /// A report of this moment.
    pub fn new(
        generation: u64,
        boot_id: BootId,
        inventory: Inventory,
        health: BTreeMap<GpuUuid, HealthRecord>,
    ) -> NodeReport {
        let written_at = Timestamp::now();
        NodeReport { schema_version: SCHEMA_VERSION, generation, boot_id, written_at, inventory, health }
    }

    /// Reads the file at `path`, which another version may have written: fields that this one does not know are left out,
    /// and a GPU whose health it cannot read is Unhealthy.
    pub fn read(path: &LocalPath) -> Result<NodeReport, ReadError> {
        strict::read_mended(path, SCHEMA_VERSION, mend).map(|mended| mended.file)
    }

    /// Replaces the file at `path`, whose folder must exist.
    pub fn write(&self, path: &LocalPath) -> Result<(), WriteError> {
        strict::write(path, self, FILE_MODE)
    }

    /// Whether it is about the boot `ours`.
    pub fn freshness(&self, ours: &BootId) -> Freshness {
        if self.boot_id == *ours {
            Freshness::ThisBoot
        } else {
            Freshness::OtherBoot { theirs: self.boot_id.clone() }
        }
    }
}

fn mend(document: &mut Value, place: &[&str]) -> Option<()> {
    let ["health", gpu, ..] = place else { return None };
    let written_at = document.get("written_at").cloned();
    let health = document.get_mut("health")?;
    if gpu.parse::<GpuUuid>().is_err() {
        // No inventory lists a GPU under this name.
        return strict::remove(health, gpu);
    }
    let record = health.get_mut(gpu)?;
    let time = |since: &Value| Timestamp::deserialize(since).ok();
    *record = serde_json::to_value(HealthRecord {
        health: Health::Unhealthy { reason: HealthReason::RecordUnreadable },
        since: record.get("since").and_then(time).or_else(|| time(&written_at?))?,
        not_offered: None,
        cause: None,
        instances: BTreeMap::new(),
    })
    .ok()?;
    Some(())
}
