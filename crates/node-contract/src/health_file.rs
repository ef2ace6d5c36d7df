//! What the device plugin knows of its GPUs' health, kept over its restarts: `health.json` in its state folder. Only the plugin writes it; it and its subcommand `health` read it.

use gpu_health::SavedLedger;
use jiff::Timestamp;
use node_host::{BootId, LocalPath};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::strict::{self, Mended, ReadError, WriteError};

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

    /// Reads the file at `path`, which another version may have written: fields that this one does not know are left out,
    /// and a record that it cannot read costs no other one ([`SavedLedger::mend`]).
    pub fn read(path: &LocalPath) -> Result<Mended<HealthFile>, ReadError> {
        strict::read_mended(path, SCHEMA_VERSION, mend)
    }

    /// Replaces the file at `path`, whose folder must exist.
    pub fn write(&self, path: &LocalPath) -> Result<(), WriteError> {
        strict::write(path, self, FILE_MODE)
    }
}

fn mend(document: &mut Value, place: &[&str]) -> Option<()> {
    match place {
        ["ledger", place @ ..] => SavedLedger::mend(document.get_mut("ledger")?, place),
        // Who waits for it is told that there is none.
        ["answers", position, ..] => strict::remove(document.get_mut("answers")?, position),
        _ => None,
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
