//! Which GPUs are lost, and in which way. It knows UUIDs only.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A way to be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Every call on it fails; its handle is still given out by index.
    #[default]
    Lost,
    /// It has fallen off the bus: its handle is given out no more either.
    OffBus,
}

/// The lost GPUs, by UUID.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LostGpus(BTreeMap<String, Loss>);

impl LostGpus {
    /// Loses a GPU.
    pub fn lose(&mut self, uuid: &str, how: Loss) {
        self.0.insert(uuid.to_owned(), how);
    }

    /// Brings a GPU back.
    pub fn give_back(&mut self, uuid: &str) {
        self.0.remove(uuid);
    }

    /// In which way a GPU is lost, if it is.
    pub fn how(&self, uuid: &str) -> Option<Loss> {
        self.0.get(uuid).copied()
    }

    /// Whether a GPU is lost.
    pub fn contains(&self, uuid: &str) -> bool {
        self.0.contains_key(uuid)
    }

    /// Whether no GPU is lost.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
