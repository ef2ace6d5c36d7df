//! What a running cluster consists of, kept in a file, so that a later call finds it again.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::layout::Layout;
use crate::process::ProcessId;

/// The file's name in the state folder.
const FILE: &str = "state.json";

/// The recorded processes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    /// The boot in which they were started: process ids of another boot mean nothing.
    boot_id: String,
    /// The first process of the node, by its id on the host.
    pub(crate) init: ProcessId,
    /// The components, by their ids in the node.
    pub(crate) components: BTreeMap<String, ProcessId>,
}

impl State {
    pub(crate) fn new(init: ProcessId) -> Result<Self> {
        Ok(Self { boot_id: boot_id()?, init, components: BTreeMap::new() })
    }

    /// The recorded state, if its node still lives.
    pub(crate) fn load(layout: &Layout) -> Result<Option<Self>> {
        let path = layout.at(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        let state: Self = serde_json::from_str(&text).with_context(|| format!("parse {}", path.display()))?;
        let lives = state.boot_id == boot_id()? && state.init.lives(Path::new("/proc"));
        Ok(lives.then_some(state))
    }

    /// Writes the file whole or not at all.
    pub(crate) fn save(&self, layout: &Layout) -> Result<()> {
        let (path, new) = (layout.at(FILE), layout.at("state.json.new"));
        fs::write(&new, serde_json::to_vec_pretty(self)?)
            .with_context(|| format!("write {}", new.display()))?;
        fs::rename(&new, &path).with_context(|| format!("rename to {}", path.display()))
    }
}

/// Forgets the recorded state.
pub(crate) fn forget(layout: &Layout) -> Result<()> {
    match fs::remove_file(layout.at(FILE)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).context("remove the state file"),
        _ => Ok(()),
    }
}

fn boot_id() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    Ok(fs::read_to_string(path).with_context(|| format!("read {path}"))?.trim().to_owned())
}
