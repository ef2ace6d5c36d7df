//! Our CDI spec on disk: built from what is known, written whenever that changes or somebody removed it.
//!
//! It waits for the disk, so it runs on the thread for that.

mod names;
mod surroundings;

use std::collections::BTreeMap;
use std::path::PathBuf;

use cdi::Spec;
use cdi::builder::{GpuSpec, Kept as KeptNames};
use gpu_model::{Gpu, GpuUuid, Inventory, MigUuid};
use node_driver::Settings;
use node_host::device::DeviceNode;
use node_host::{FileIdentity, HostPath, HostRoot, LocalPath};

use self::names::Gone;
use self::surroundings::Surroundings;
use crate::host_devices::HostDevices;
use crate::injection::Need;

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// At the file and the device nodes; at the rest if those changed.
    Glance,
    /// At every file of the driver.
    Full,
}

/// What is wanted of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What has to be known of it.
    pub need: Need,
    /// Whether daemons of the node get all nodes by a device of their own.
    pub management: bool,
}

/// The node without which CUDA does not start, while NVML works and all looks well.
const UVM: &str = "nvidia-uvm";

/// What came of keeping the spec.
#[derive(Debug)]
pub struct Kept {
    /// What was needed when it was looked at.
    pub need: Need,
    /// Whether CUDA could start, as far as that was looked at.
    pub has_uvm: Option<bool>,
    /// The spec, or why there is no valid one on disk now, in words.
    pub result: Result<KeptSpec, String>,
}

/// A spec that is on disk, or is not needed there.
#[derive(Debug)]
pub struct KeptSpec {
    /// What the host has that an answer can name.
    pub host: HostDevices,
    /// The GPUs that cannot be handed out, each with what it lacks.
    pub lacking: BTreeMap<GpuUuid, String>,
    /// The MIG devices that cannot be handed out, each with what it lacks.
    pub mig_lacking: BTreeMap<MigUuid, String>,
    /// Whether the file was written just now.
    pub was_written: bool,
}

/// The spec that was last built, if any.
#[derive(Debug)]
pub struct SpecFile {
    dir: LocalPath,
    host: HostRoot,
    hook: Option<HostPath>,
    written: Option<Written>,
    gone: Gone,
}

#[derive(Debug)]
struct Written {
    built: GpuSpec,
    /// None where no file is needed.
    file: Option<(PathBuf, FileIdentity)>,
    surroundings: Surroundings,
    /// Whether what it names was looked for on the host.
    is_checked: bool,
}

impl SpecFile {
    /// No spec of this process yet, in this folder; with `hook`, NVIDIA's program for CDI hooks, where hooks are wanted. Names of one that another process left stay resolvable.
    pub fn new(dir: LocalPath, host: HostRoot, hook: Option<HostPath>) -> Self {
        Self { dir, host, hook, written: None, gone: Gone::default() }
    }

    /// Makes the file say what a container needs for each GPU and MIG device of `inventory`, and for the GPUs of `unlisted`
    /// as they were when the driver last listed them.
    ///
    /// Where no spec is needed none is written, but one that is there is kept current: containers may hold its names.
    pub fn keep(
        &mut self,
        inventory: &Inventory,
        unlisted: &[Gpu],
        settings: &Settings,
        depth: Depth,
        wanted: Wanted,
    ) -> Kept {
        let (mut has_uvm, look) = (None, settings.remembering());
        let result = self.try_keep(inventory, unlisted, &look, depth, wanted, &mut has_uvm);
        if result.as_ref().is_ok_and(|kept| !kept.was_written) {
            self.check_once();
        }
        Kept { need: wanted.need, has_uvm, result }
    }

    fn try_keep(
        &mut self,
        inventory: &Inventory,
        unlisted: &[Gpu],
        settings: &Settings,
        depth: Depth,
        Wanted { need, management }: Wanted,
        has_uvm: &mut Option<bool>,
    ) -> Result<KeptSpec, String> {
        let driver = settings.find()?;
        let root = settings.device_root(driver);
        let nodes = settings.device_nodes(&root)?;
        *has_uvm = Some(has_uvm_node(&nodes.usable));
        if *has_uvm == Some(false) && need >= Need::Nodes {
            // A spec without it starts containers in which CUDA fails; the old file stays for when it is back.
            return Err("the device node nvidia-uvm is missing".to_owned());
        }
        let before = self.written.as_ref().filter(|_| depth == Depth::Glance);
        let before = before.map(|written| &written.surroundings);
        let surroundings = Surroundings::look(inventory, settings, driver, &root, nodes, before, management);
        let on_disk = need >= Need::Spec || self.is_there();
        if depth == Depth::Glance
            && self.is_in_place(on_disk)
            && let Some(written) =
                self.written.as_ref().filter(|written| written.surroundings == surroundings)
        {
            return Ok(KeptSpec::of(&written.built, false));
        }
        let files = driver.files().map_err(|error| settings.explain(daemon::error_chain(&error)))?;
        self.gone.note(inventory, &self.dir);
        let seen: Vec<Gpu> = self.gone.seen().chain(unlisted).cloned().collect();
        let kept = KeptNames { gpus: &seen, names: self.gone.names() };
        let host = surroundings.clone().with(files, self.hook.clone());
        let built = cdi::builder::build(inventory, &kept, &host)
            .map_err(|error| daemon::error_chain(&error).to_string())?;
        let is_current = self.written.as_ref().is_some_and(|written| written.built.spec == built.spec)
            && self.is_in_place(on_disk);
        if is_current && let Some(written) = &mut self.written {
            written.surroundings = surroundings;
            written.built = built;
            return Ok(KeptSpec::of(&written.built, false));
        }
        self.written = None;
        for (node, reason) in &surroundings.nodes.unusable {
            tracing::warn!(node, reason, "a device node of the driver cannot be used");
        }
        for (device, reason) in &built.mig_left_out {
            tracing::warn!(%device, reason, "a MIG device cannot be handed out");
        }
        let file = if on_disk { Some(self.write(&built.spec)?) } else { None };
        let kept = KeptSpec::of(&built, file.is_some());
        self.written = Some(Written { built, file, surroundings, is_checked: false });
        Ok(kept)
    }

    fn write(&mut self, spec: &Spec) -> Result<(PathBuf, FileIdentity), String> {
        let path: PathBuf =
            cdi::write(&self.dir, spec).map_err(|error| daemon::error_chain(&error).to_string())?.into();
        let identity = FileIdentity::of(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        self.gone.written(spec);
        Ok((path, identity))
    }

    /// Whether there is a spec of ours, whoever wrote it.
    fn is_there(&self) -> bool {
        let kind = gpu_model::names::CDI_KIND_GPU.parse();
        kind.is_ok_and(|kind| self.dir.join(cdi::file_name(&kind)).as_path().exists())
    }

    /// Whether the file that was written is still there, untouched, if it has to be.
    fn is_in_place(&self, on_disk: bool) -> bool {
        let unchanged = |written: &Written| match &written.file {
            Some((path, identity)) => FileIdentity::of(path).is_ok_and(|now| now == *identity),
            None => !on_disk,
        };
        self.written.as_ref().is_some_and(unchanged)
    }

    /// Tells what a spec that was written at an earlier look names and the host lacks. The kubelet does not wait for this:
    /// a path may be missing in our view of the host and be there all the same (a container sees what is mounted), so it
    /// decides nothing, and the runtime names the path when it fails over it.
    fn check_once(&mut self) {
        let Some(written) = self.written.as_mut().filter(|it| it.file.is_some() && !it.is_checked) else {
            return;
        };
        written.is_checked = true;
        for problem in cdi::validate(&written.built.spec, &self.host.remembering()) {
            tracing::warn!(%problem, "the CDI spec names what this process does not find on the host");
        }
    }
}

/// Whether CUDA could start with these nodes.
fn has_uvm_node(nodes: &[DeviceNode]) -> bool {
    nodes.iter().any(|node| node.name == UVM)
}

impl KeptSpec {
    fn of(built: &GpuSpec, was_written: bool) -> KeptSpec {
        KeptSpec {
            host: HostDevices::of(&built.spec),
            lacking: built.left_out.clone(),
            mig_lacking: built.mig_left_out.clone(),
            was_written,
        }
    }
}
