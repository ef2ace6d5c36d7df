//! Which GPUs are lost: fallen off the bus as far as NVML can tell. It knows UUIDs only.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The lost GPUs, by UUID.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LostGpus(BTreeSet<String>);

impl LostGpus {
    /// Loses a GPU.
    pub fn lose(&mut self, uuid: &str) {
        self.0.insert(uuid.to_owned());
    }

    /// Brings a GPU back.
    pub fn give_back(&mut self, uuid: &str) {
        self.0.remove(uuid);
    }

    /// Whether a GPU is lost.
    pub fn contains(&self, uuid: &str) -> bool {
        self.0.contains(uuid)
    }

    /// Whether no GPU is lost.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
