//! What a container would get for CDI device names, read from the specs as a container runtime reads them.
//!
//! It knows the CDI specification and links no code of ours that writes specs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;
use thiserror::Error;

/// What a runtime would put into a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerView {
    /// Paths of device nodes in the container, in the order of the specs.
    pub device_nodes: Vec<String>,
    /// Paths in the container that something is mounted at.
    pub mounts: Vec<String>,
    /// Environment variables as `NAME=value`.
    pub env: Vec<String>,
    /// Programs that the runtime would run.
    pub hooks: Vec<String>,
}

/// A name that a runtime could not resolve.
#[derive(Debug, Error)]
pub enum ResolveError {
    /// The folder or a spec cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A spec is no JSON.
    #[error("{} is no JSON", path.display())]
    Json {
        /// The spec.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// No spec has the name.
    #[error("no spec in {} has the device {name:?}", dir.display())]
    Unknown {
        /// The folder of specs.
        dir: PathBuf,
        /// The name.
        name: String,
    },
}

/// Resolves qualified names such as `gantry.dev/gpu=GPU-…` with the JSON specs in `dir`.
///
/// # Errors
/// When a name is unknown, or a spec cannot be read.
pub fn resolve(dir: &Path, names: &[String]) -> Result<ContainerView, ResolveError> {
    let specs = specs(dir)?;
    let mut view = ContainerView::default();
    let mut used = vec![false; specs.len()];
    for name in names {
        let found = specs.iter().enumerate().find_map(|(at, spec)| Some((at, spec, device(spec, name)?)));
        let Some((at, spec, device)) = found else {
            return Err(ResolveError::Unknown { dir: dir.to_owned(), name: name.clone() });
        };
        // Edits of the spec itself apply once, whichever of its devices are used.
        if !std::mem::replace(&mut used[at], true) {
            view.add(&spec["containerEdits"]);
        }
        view.add(&device["containerEdits"]);
    }
    Ok(view)
}

impl ContainerView {
    fn add(&mut self, edits: &Value) {
        let strings = |list: &Value, key: &str| -> Vec<String> {
            let entries = list.as_array().into_iter().flatten();
            entries.filter_map(|entry| Some(entry[key].as_str()?.to_owned())).collect()
        };
        self.device_nodes.extend(strings(&edits["deviceNodes"], "path"));
        self.mounts.extend(strings(&edits["mounts"], "containerPath"));
        self.hooks.extend(strings(&edits["hooks"], "path"));
        let env = edits["env"].as_array().into_iter().flatten();
        self.env.extend(env.filter_map(|entry| entry.as_str().map(str::to_owned)));
    }
}

fn specs(dir: &Path) -> Result<Vec<Value>, ResolveError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ResolveError::Read { path, source }
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed(dir))? {
        let path = entry.map_err(failed(dir))?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            paths.push(path);
        }
    }
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read(&path).map_err(failed(&path))?;
        serde_json::from_slice(&text).map_err(|source| ResolveError::Json { path, source })
    };
    paths.into_iter().map(read).collect()
}

fn device<'a>(spec: &'a Value, name: &str) -> Option<&'a Value> {
    let (kind, device) = name.split_once('=')?;
    let devices = (spec["kind"] == kind).then(|| spec["devices"].as_array())??;
    devices.iter().find(|entry| entry["name"] == device)
}
