//! Which of the plugin's devices pods held when the kubelet was asked last: `held.json` in the plugin's state folder.
//! Only the plugin writes and reads it; it serves a plugin that starts until the kubelet answers.

use std::collections::{BTreeMap, BTreeSet};

use gpu_model::{GpuUuid, MigUuid, ResourceName};
use jiff::Timestamp;
use node_host::{BootId, LocalPath};
use serde::{Deserialize, Serialize};

use crate::strict::{self, ReadError, WriteError};

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
}

impl HeldFile {
    /// A file of this moment.
    pub fn new(
        boot_id: BootId,
        held: BTreeMap<ResourceName, BTreeSet<String>>,
        mig_gpus: BTreeMap<MigUuid, GpuUuid>,
    ) -> HeldFile {
        HeldFile { schema_version: SCHEMA_VERSION, boot_id, written_at: Timestamp::now(), held, mig_gpus }
    }

    /// Reads the file at `path`. Fields that this version does not know are left out: a later one may have written it.
    pub fn read(path: &LocalPath) -> Result<HeldFile, ReadError> {
        strict::read_of_any_version(path, SCHEMA_VERSION)
    }

    /// Replaces the file at `path`, whose folder must exist.
    pub fn write(&self, path: &LocalPath) -> Result<(), WriteError> {
        strict::write(path, self, FILE_MODE)
    }
}
