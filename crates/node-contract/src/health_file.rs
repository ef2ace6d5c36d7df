//! What the device plugin knows of its GPUs' health, kept over its restarts: `health.json` in its state folder. Only the plugin writes it; it and its subcommand `health` read it.

use gpu_health::SavedLedger;
use jiff::Timestamp;
use node_host::{BootId, LocalPath};
use serde::{Deserialize, Serialize};

use crate::strict::{self, ReadError, WriteError};

/// Version of the file's form. Version 1 is not frozen before the first release.
const SCHEMA_VERSION: u32 = 1;

/// Where the file stands below the plugin's state folder (`/var/lib/gantry/device-plugin`).
pub const HEALTH_PATH: &str = "health.json";

/// It holds names of people and their reasons.
const FILE_MODE: u32 = 0o600;

/// Requests whose outcome is remembered: more than may wait at once.
const MAX_ANSWERS: usize = 2 * crate::MAX_REQUESTS;

/// The ledger as it was when something changed last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthFile {
    schema_version: u32,
    /// The boot that it is about.
    pub boot_id: BootId,
    /// When it was written.
    pub written_at: Timestamp,
    /// What is known.
    pub ledger: SavedLedger,
    /// What became of the last requests, oldest first.
    pub answers: Vec<HealthAnswer>,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthAnswer {
    /// The request's id.
    pub id: String,
    /// Why it was refused; absent when it was granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
}

impl HealthFile {
    /// A file of this moment.
    pub fn new(boot_id: BootId, ledger: SavedLedger, answers: Vec<HealthAnswer>) -> HealthFile {
        HealthFile { schema_version: SCHEMA_VERSION, boot_id, written_at: Timestamp::now(), ledger, answers }
    }

    /// Reads the file at `path`. Fields that this version does not know are left out: a later one may have written it.
    pub fn read(path: &LocalPath) -> Result<HealthFile, ReadError> {
        strict::read_of_any_version(path, SCHEMA_VERSION)
    }

    /// Replaces the file at `path`, whose folder must exist.
    pub fn write(&self, path: &LocalPath) -> Result<(), WriteError> {
        strict::write(path, self, FILE_MODE)
    }
}

impl HealthAnswer {
    /// Remembers one more answer, and forgets the oldest of too many.
    pub fn remember(self, answers: &mut Vec<HealthAnswer>) {
        answers.push(self);
        if answers.len() > MAX_ANSWERS {
            answers.drain(..answers.len() - MAX_ANSWERS);
        }
    }
}
