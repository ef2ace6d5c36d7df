//! Our CDI spec on disk: built from what is known, written whenever that changes or somebody removed it.
//!
//! It waits for the disk, so it runs on the thread for that.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cdi::Spec;
use gpu_model::{GpuUuid, Inventory};
use node_host::device::Nodes;
use node_host::{HostRoot, LocalPath};

use crate::driver::{self, Settings};
use crate::file_identity::FileIdentity;

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// At the file and the device nodes; at the rest if those changed.
    Glance,
    /// At every file of the driver.
    Full,
}

/// What came of keeping the spec.
#[derive(Debug)]
pub struct Kept {
    /// Whether CUDA could start, as far as that was looked at.
    pub has_uvm: Option<bool>,
    /// The spec, or why there is no valid one on disk now, in words.
    pub result: Result<KeptSpec, String>,
}

/// A spec that is on disk.
#[derive(Debug)]
pub struct KeptSpec {
    /// The GPUs that cannot be handed out, each with what it lacks.
    pub lacking: BTreeMap<GpuUuid, String>,
    /// Whether the file was written just now.
    pub was_written: bool,
}

/// The spec that was last written, if any.
#[derive(Debug)]
pub struct SpecFile {
    dir: LocalPath,
    host: HostRoot,
    written: Option<Written>,
}

#[derive(Debug)]
struct Written {
    spec: Spec,
    path: PathBuf,
    identity: FileIdentity,
    nodes: Nodes,
    left_out: BTreeMap<GpuUuid, String>,
}

impl SpecFile {
    /// No spec yet, in this folder.
    pub fn new(dir: LocalPath, host: HostRoot) -> Self {
        Self { dir, host, written: None }
    }

    /// Makes the file say what a container needs for each GPU of `inventory`.
    pub fn keep(&mut self, inventory: &Inventory, settings: &Settings, depth: Depth) -> Kept {
        let mut has_uvm = None;
        let result = self.try_keep(inventory, settings, depth, &mut has_uvm);
        Kept { has_uvm, result }
    }

    fn try_keep(
        &mut self,
        inventory: &Inventory,
        settings: &Settings,
        depth: Depth,
        has_uvm: &mut Option<bool>,
    ) -> Result<KeptSpec, String> {
        let driver = settings.find()?;
        let nodes = settings.device_nodes(driver)?;
        *has_uvm = Some(driver::has_uvm(&nodes.usable));
        if *has_uvm == Some(false) {
            // A spec without it starts containers in which CUDA fails; the old file stays for when it is back.
            return Err("the device node nvidia-uvm is missing".to_owned());
        }
        if depth == Depth::Glance
            && self.is_in_place()
            && let Some(written) = self.written.as_ref().filter(|written| written.nodes == nodes)
        {
            return Ok(KeptSpec { lacking: written.left_out.clone(), was_written: false });
        }
        let files = driver.files().map_err(|error| settings.explain(daemon::error_chain(&error)))?;
        let built = cdi::builder::full_gpus(inventory, &files, &nodes)
            .map_err(|error| daemon::error_chain(&error).to_string())?;
        let is_current =
            self.written.as_ref().is_some_and(|written| written.spec == built.spec) && self.is_in_place();
        if !is_current {
            self.written = None;
            for (node, reason) in &nodes.unusable {
                tracing::warn!(node, reason, "a device node of the driver cannot be used");
            }
            self.warn_of_problems(&built.spec);
            let path: PathBuf = cdi::write(&self.dir, &built.spec)
                .map_err(|error| daemon::error_chain(&error).to_string())?
                .into();
            let identity = FileIdentity::of(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            let lacking = built.left_out.clone();
            self.written =
                Some(Written { spec: built.spec, path, identity, nodes, left_out: built.left_out });
            return Ok(KeptSpec { lacking, was_written: true });
        }
        if let Some(written) = &mut self.written {
            written.nodes = nodes;
            written.left_out.clone_from(&built.left_out);
        }
        Ok(KeptSpec { lacking: built.left_out, was_written: false })
    }

    /// Whether the file that was written is still there, untouched.
    fn is_in_place(&self) -> bool {
        let unchanged =
            |written: &Written| FileIdentity::of(&written.path).is_ok_and(|now| now == written.identity);
        self.written.as_ref().is_some_and(unchanged)
    }

    /// A path may be missing in our view of the host and be there all the same (a container sees what is
    /// mounted), so this is told and decides nothing: the runtime names the path when it fails over it.
    fn warn_of_problems(&self, spec: &Spec) {
        for problem in cdi::validate(spec, &self.host) {
            tracing::warn!(%problem, "the CDI spec names what this process does not find on the host");
        }
    }
}
