//! What a running cluster consists of, kept in a file, so that a later call finds it again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::kubelet::KubeletRelease;
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
    /// The fingerprint of the programs and settings that they were started with.
    pub(crate) made_of: String,
    /// The kubelet that a test has put into the node, or the cluster's own.
    pub(crate) kubelet: KubeletRelease,
}

impl State {
    pub(crate) fn new(init: ProcessId, made_of: String) -> Result<Self> {
        let kubelet = KubeletRelease::default();
        Ok(Self { boot_id: boot_id()?, init, components: BTreeMap::new(), made_of, kubelet })
    }

    /// The recorded state, if its node still lives. A record that cannot be understood is none: what it stood
    /// for is found and ended by the cluster's cgroup.
    pub(crate) fn load(layout: &Layout) -> Result<Option<Self>> {
        let path = layout.at(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        let state: Self = match serde_json::from_str(&text) {
            Ok(state) => state,
            Err(error) => {
                let _ = writeln!(io::stderr(), "{}: {error}: taken as no record", path.display());
                return Ok(None);
            }
        };
        let lives = state.boot_id == boot_id()? && state.init.lives(Path::new("/proc"));
        Ok(lives.then_some(state))
    }

    /// Writes the file whole or not at all, also when the machine stops.
    pub(crate) fn save(&self, layout: &Layout) -> Result<()> {
        let (path, new) = (layout.at(FILE), layout.at("state.json.new"));
        let mut file = File::create(&new).with_context(|| format!("create {}", new.display()))?;
        file.write_all(&serde_json::to_vec_pretty(self)?)
            .and_then(|()| file.sync_all())
            .with_context(|| format!("write {}", new.display()))?;
        fs::rename(&new, &path).with_context(|| format!("rename to {}", path.display()))
    }
}

fn boot_id() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    Ok(fs::read_to_string(path).with_context(|| format!("read {path}"))?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(workspace: &Path) -> Layout {
        let layout = Layout::in_workspace(workspace, "x").unwrap();
        fs::create_dir_all(layout.root()).unwrap();
        layout
    }

    #[test]
    fn state_of_a_living_process_is_found_again_and_that_of_a_dead_one_is_not() {
        let workspace = tempfile::tempdir().unwrap();
        let layout = layout(workspace.path());
        let me = ProcessId::find(Path::new("/proc"), std::process::id()).unwrap();
        let kubelet = KubeletRelease::V1_36;
        State { kubelet, ..State::new(me, "a".to_owned()).unwrap() }.save(&layout).unwrap();
        let found = State::load(&layout).unwrap().unwrap();
        assert_eq!((found.init, found.made_of.as_str(), found.kubelet), (me, "a", kubelet));
        let other = ProcessId { started: me.started + 1, ..me };
        State::new(other, "a".to_owned()).unwrap().save(&layout).unwrap();
        assert!(State::load(&layout).unwrap().is_none());
    }

    #[test]
    fn state_that_cannot_be_understood_is_taken_as_none() {
        let workspace = tempfile::tempdir().unwrap();
        let layout = layout(workspace.path());
        for text in ["", "{\"boot_id\": \"half", "{\"boot_id\": \"of an older version\"}"] {
            fs::write(layout.at(FILE), text).unwrap();
            assert!(State::load(&layout).unwrap().is_none(), "{text:?}");
        }
    }
}
