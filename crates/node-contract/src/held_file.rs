//! Which of the plugin's devices pods held when the kubelet was asked last: `held.json` in the plugin's state folder.
//! Only the plugin writes and reads it; it serves a plugin that starts until the kubelet answers.

use std::collections::{BTreeMap, BTreeSet};

use gpu_model::{GpuUuid, MigUuid, ResourceName};
use jiff::Timestamp;
use node_host::{BootId, LocalPath};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::strict::{self, Mended, ReadError, WriteError};

/// Version of the file's form. Version 1 is not frozen before the first release.
const SCHEMA_VERSION: u32 = 1;

/// Name of the file in the plugin's state folder.
pub const HELD_FILE: &str = "held.json";

/// Nobody else needs it.
const FILE_MODE: u32 = 0o600;

/// What pods hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldFile {
    schema_version: u32,
    /// The boot that it is about.
    pub boot_id: BootId,
    /// When it was written.
    pub written_at: Timestamp,
    /// Ids of devices and shares, by their resource.
    pub held: BTreeMap<ResourceName, BTreeSet<String>>,
    /// The GPUs that held MIG devices are parts of. The driver no longer knows of a MIG device that is gone.
    pub mig_gpus: BTreeMap<MigUuid, GpuUuid>,
    /// The containers that hold any of them, as `namespace/pod/container`.
    #[serde(default)]
    pub holders: BTreeSet<String>,
}

impl HeldFile {
    /// A file of this moment.
    pub fn new(
        boot_id: BootId,
        held: BTreeMap<ResourceName, BTreeSet<String>>,
        mig_gpus: BTreeMap<MigUuid, GpuUuid>,
        holders: BTreeSet<String>,
    ) -> HeldFile {
        let written_at = Timestamp::now();
        HeldFile { schema_version: SCHEMA_VERSION, boot_id, written_at, held, mig_gpus, holders }
    }

    /// Reads the file at `path`, which another version may have written: fields that this one does not know are left out,
    /// and so is an id, a resource, a MIG device or a container that it cannot read.
    pub fn read(path: &LocalPath) -> Result<Mended<HeldFile>, ReadError> {
        strict::read_mended(path, SCHEMA_VERSION, mend)
    }

    /// Replaces the file at `path`, whose folder must exist.
    pub fn write(&self, path: &LocalPath) -> Result<(), WriteError> {
        strict::write(path, self, FILE_MODE)
    }
}

fn mend(document: &mut Value, place: &[&str]) -> Option<()> {
    match place {
        ["held", resource, id, ..] => strict::remove(document.get_mut("held")?.get_mut(resource)?, id),
        [part @ ("held" | "mig_gpus" | "holders"), key, ..] => strict::remove(document.get_mut(part)?, key),
        _ => None,
    }
}
