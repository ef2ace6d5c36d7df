//! Our CDI spec on disk: built from what is known, written whenever that changes or somebody removed it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cdi::Spec;
use gpu_model::{GpuUuid, Inventory};
use node_host::device::Nodes;
use node_host::{DriverRoot, HostRoot, LocalPath};

use crate::file_identity::FileIdentity;

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
    left_out: BTreeMap<GpuUuid, String>,
}

impl SpecFile {
    /// No spec yet, in this folder.
    pub fn new(dir: LocalPath, host: HostRoot) -> Self {
        Self { dir, host, written: None }
    }

    /// Makes the file say what a container needs for each GPU of `inventory`. Gives the GPUs that cannot be
    /// handed out, each with what it lacks, and whether the file was written.
    ///
    /// # Errors
    /// When there is no valid spec on disk now, in words.
    pub fn keep(
        &mut self,
        inventory: &Inventory,
        driver: &DriverRoot,
        nodes: &Nodes,
    ) -> Result<(&BTreeMap<GpuUuid, String>, bool), String> {
        let files = driver.files().map_err(|error| daemon::error_chain(&error).to_string())?;
        let built = cdi::builder::full_gpus(inventory, &files, nodes)
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
            self.written = Some(Written { spec: built.spec, path, identity, left_out: built.left_out });
        }
        match &self.written {
            Some(written) => Ok((&written.left_out, !is_current)),
            None => Err("it was not written".to_owned()),
        }
    }

    /// Whether the file that was written is still there, untouched.
    pub fn is_in_place(&self) -> bool {
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
