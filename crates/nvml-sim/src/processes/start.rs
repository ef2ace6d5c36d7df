//! Whether a process can begin: on this GPU, beside what runs there. It knows GPUs and their modes, no folder.

use std::collections::BTreeSet;

use thiserror::Error;

use super::{InstancePlace, Process, ProcessEntry, ProcessKind};
use crate::bytes::Bytes;
use crate::modes::ComputeMode;
use crate::node::Gpu;
use crate::state::State;

/// The pids that are given to processes without one begin here.
const FIRST_PID: u32 = 10_001;
/// The name of a process that has none.
const NO_NAME: &str = "simulated";

/// Why a process cannot be.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ProcessError {
    /// No pid.
    #[error("`{pid}` is no pid; write 1 to {most}, or leave it out")]
    Pid {
        /// As written.
        pid: u32,
        /// The highest.
        most: u32,
    },
    /// No name.
    #[error("`{}` is no name; write one line of 1 to {most} bytes", name.escape_debug())]
    Name {
        /// As written.
        name: String,
        /// The longest.
        most: usize,
    },
    /// Two names of one pid.
    #[error("process {pid} is called `{name}` already; leave the name out, or take another pid")]
    OtherName {
        /// The pid.
        pid: u32,
        /// Its name.
        name: String,
    },
    /// The same once more.
    #[error("process {pid} runs there already; take another pid, or `nvml-sim process kill {pid}` first")]
    Twice {
        /// The pid.
        pid: u32,
    },
    /// On no GPU.
    #[error("a process runs on some GPU; say on which")]
    NoGpu,
    /// A GPU that does not answer.
    #[error("GPU {gpu} is lost; `nvml-sim return --gpu {gpu}` brings it back")]
    Lost {
        /// Its index.
        gpu: usize,
    },
    /// A GPU that takes no new processes.
    #[error("GPU {gpu} drains or was removed: it takes no new processes")]
    Draining {
        /// Its index.
        gpu: usize,
    },
    /// A MIG instance where there is none.
    #[error("GPU {gpu} {found}; {known}")]
    Instance {
        /// Its index.
        gpu: usize,
        /// What is wrong.
        found: String,
        /// What would be right.
        known: String,
    },
    /// A graphics process on a MIG instance.
    #[error("GPU {gpu} has MIG on, and its instances run no graphics; take compute or mps")]
    NoGraphics {
        /// Its index.
        gpu: usize,
    },
    /// More memory than is free.
    #[error("{wanted} are more than the {free} that are free there")]
    Memory {
        /// As written.
        wanted: Bytes,
        /// What is left.
        free: Bytes,
    },
    /// The compute mode forbids it.
    #[error(
        "GPU {gpu} is in compute mode {mode}; `nvml-sim set --gpu {gpu} compute-mode=default` lets it run"
    )]
    ComputeMode {
        /// Its index.
        gpu: usize,
        /// The mode.
        mode: &'static str,
    },
    /// The compute mode of a MIG device forbids it.
    #[error("the MIG device of GPU {gpu} is in compute mode {mode}; nvmlDeviceSetComputeMode changes that")]
    ComputeModeOfMig {
        /// Index of the GPU.
        gpu: usize,
        /// The mode.
        mode: &'static str,
    },
    /// No such process.
    #[error("there is no process {pid}; `nvml-sim process list` shows those that run")]
    NotThere {
        /// As written.
        pid: u32,
    },
}

impl ProcessError {
    /// The key of a node file that is wrong.
    pub fn key(&self) -> &'static str {
        match self {
            ProcessError::Pid { .. } | ProcessError::Twice { .. } | ProcessError::NotThere { .. } => "pid",
            ProcessError::Name { .. } | ProcessError::OtherName { .. } => "name",
            ProcessError::Memory { .. } => "memory",
            ProcessError::Instance { .. } => "gi",
            ProcessError::Lost { .. }
            | ProcessError::Draining { .. }
            | ProcessError::NoGpu
            | ProcessError::NoGraphics { .. }
            | ProcessError::ComputeMode { .. }
            | ProcessError::ComputeModeOfMig { .. } => "gpu",
        }
    }
}

impl State {
    /// Lets a process begin on a GPU at `now_us`, and gives its pid.
    pub fn start_process(
        &mut self,
        gpu: &Gpu,
        entry: ProcessEntry,
        now_us: u64,
    ) -> Result<u32, ProcessError> {
        entry.check()?;
        let instance = self.place_of(gpu, &entry)?;
        self.may_run(gpu, instance, &entry)?;
        let free = self.memory_free(gpu, instance);
        if entry.memory > free {
            return Err(ProcessError::Memory { wanted: entry.memory, free });
        }
        let pid = entry.pid.unwrap_or_else(|| self.free_pid());
        let own = || self.processes.iter().filter(|process| process.pid == pid);
        let name = match (own().next().map(|process| &process.name), entry.name) {
            (Some(known), Some(name)) if *known != name => {
                return Err(ProcessError::OtherName { pid, name: known.clone() });
            }
            (Some(known), _) => known.clone(),
            (None, name) => name.unwrap_or_else(|| NO_NAME.to_owned()),
        };
        let is_there = |process: &Process| {
            (process.gpu.as_str(), process.instance, process.kind)
                == (gpu.uuid.as_str(), instance, entry.kind)
        };
        if own().any(is_there) {
            return Err(ProcessError::Twice { pid });
        }
        self.processes.0.push(Process {
            gpu: gpu.uuid.clone(),
            instance,
            pid,
            name,
            kind: entry.kind,
            memory: entry.memory,
            sm: entry.sm,
            memory_activity: entry.memory_activity,
            encoder: entry.encoder,
            decoder: entry.decoder,
            start_us: now_us,
            life: None,
        });
        Ok(pid)
    }

    fn free_pid(&self) -> u32 {
        let taken: BTreeSet<u32> = self.processes.iter().map(|process| process.pid).collect();
        (FIRST_PID..u32::MAX).find(|pid| !taken.contains(pid)).unwrap_or(u32::MAX)
    }

    /// Where on the GPU the process runs: on a GPU with MIG on always in a compute instance.
    fn place_of(&self, gpu: &Gpu, entry: &ProcessEntry) -> Result<Option<InstancePlace>, ProcessError> {
        let wrong = |found: String, known: String| ProcessError::Instance { gpu: gpu.index, found, known };
        let Some(mig) = self.mig.gpus.get(&gpu.uuid).filter(|mig| mig.enabled) else {
            return match (entry.gi, entry.ci) {
                (None, None) => Ok(None),
                _ => Err(wrong("has MIG off".to_owned(), "leave the instance out".to_owned())),
            };
        };
        if entry.kind == ProcessKind::Graphics {
            return Err(ProcessError::NoGraphics { gpu: gpu.index });
        }
        let places: Vec<InstancePlace> = mig
            .instances
            .iter()
            .flat_map(|(gi, made)| {
                made.compute.keys().map(|ci| InstancePlace { gpu_instance: *gi, compute_instance: *ci })
            })
            .collect();
        let known = || {
            let names: Vec<String> = places
                .iter()
                .map(|place| format!("--gi {} --ci {}", place.gpu_instance, place.compute_instance))
                .collect();
            match names.len() {
                0 => "it has no compute instance; `nvml-sim mig create` makes one".to_owned(),
                _ => format!("it has {}", names.join(", ")),
            }
        };
        let Some(gi) = entry.gi else {
            return Err(wrong("has MIG on: say on which instance".to_owned(), known()));
        };
        let fits = |place: &&InstancePlace| {
            place.gpu_instance == gi && entry.ci.is_none_or(|ci| ci == place.compute_instance)
        };
        let mut found = places.iter().filter(fits);
        match (found.next(), found.next()) {
            (Some(place), None) => Ok(Some(*place)),
            (Some(_), Some(_)) => Err(wrong(format!("has several in GPU instance {gi}"), known())),
            (None, _) => Err(wrong("has no such compute instance".to_owned(), known())),
        }
    }

    /// Whether the compute mode lets the process begin. Programs of a multi-process service compute through its server.
    fn may_run(
        &self,
        gpu: &Gpu,
        instance: Option<InstancePlace>,
        entry: &ProcessEntry,
    ) -> Result<(), ProcessError> {
        let mode = match instance {
            None => self.modes.get(&gpu.uuid).map(|modes| modes.compute_mode),
            Some(place) => {
                self.mig.at(gpu, place.gpu_instance, place.compute_instance).map(|it| it.compute_mode)
            }
        };
        let mode = mode.unwrap_or_default();
        let computes =
            |process: &Process| process.kind == ProcessKind::Compute && process.instance == instance;
        let mode = match mode {
            ComputeMode::Prohibited if entry.kind != ProcessKind::Graphics => "prohibited",
            ComputeMode::ExclusiveProcess
                if entry.kind == ProcessKind::Compute && self.processes.of(&gpu.uuid).any(computes) =>
            {
                "exclusive-process, and another process computes there"
            }
            _ => return Ok(()),
        };
        let gpu = gpu.index;
        Err(match instance {
            None => ProcessError::ComputeMode { gpu, mode },
            Some(_) => ProcessError::ComputeModeOfMig { gpu, mode },
        })
    }

    /// The memory that no process uses: of the GPU, or of the GPU instance.
    fn memory_free(&self, gpu: &Gpu, instance: Option<InstancePlace>) -> Bytes {
        let own = instance.map(|place| place.gpu_instance);
        let profile = own.and_then(|id| {
            let made = self.mig.gpus.get(&gpu.uuid)?.instances.get(&id)?;
            gpu.model.mig.by_id(made.profile)
        });
        let whole = profile.map_or(gpu.model.memory_usable(), |profile| profile.memory);
        let beside = self
            .processes
            .of(&gpu.uuid)
            .filter(|process| own.is_none() || process.instance.map(|place| place.gpu_instance) == own);
        let used = beside.map(|process| process.memory.0).fold(0, u64::saturating_add);
        Bytes(whole.0.saturating_sub(used))
    }
}
