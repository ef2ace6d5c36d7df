//! Simulated processes: which run on which GPU or MIG instance, and what they use of it. There need not be a process of
//! the machine behind one. It knows neither how they are told to NVML's callers nor the state folder.

mod accounting;
mod control;
mod entry;
mod life;
mod percent;
mod start;
mod steps;
mod views;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;
use crate::mig::GpuMig;

pub use accounting::{ACCOUNTING_PROCESSES_MAX, Accounting, AccountingStats, EndedProcess};
pub use control::InUseError;
pub use entry::ProcessEntry;
pub use life::{Lives, keep_through_exec};
pub use percent::{ParsePercentError, Percent};
pub use start::ProcessError;
pub use views::{ProcessLoad, ProcessSample};

/// A process that runs on one GPU. One that runs on several, or in several ways, is several of these with one pid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Process {
    /// UUID of the GPU.
    pub gpu: String,
    /// The MIG instance; none on a GPU without MIG.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstancePlace>,
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// How it uses the GPU.
    pub kind: ProcessKind,
    /// Frame buffer that it uses.
    pub memory: Bytes,
    /// Part of the time that its kernels run.
    #[serde(default, skip_serializing_if = "Percent::is_zero")]
    pub sm: Percent,
    /// Part of the time that it reads or writes memory.
    #[serde(default, skip_serializing_if = "Percent::is_zero")]
    pub memory_activity: Percent,
    /// Part of the encoders' time.
    #[serde(default, skip_serializing_if = "Percent::is_zero")]
    pub encoder: Percent,
    /// Part of the decoders' time.
    #[serde(default, skip_serializing_if = "Percent::is_zero")]
    pub decoder: Percent,
    /// When it began by the node's clock, in microseconds since 1970.
    pub start_us: u64,
    /// The file whose lock a process of the machine holds as long as it lives; none where it ends by command alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life: Option<String>,
}

/// The MIG compute instance that a process runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct InstancePlace {
    /// Id of the GPU instance.
    pub gpu_instance: u32,
    /// Id of the compute instance in it.
    pub compute_instance: u32,
}

/// How a process uses a GPU; numbers are the modes of `nvmlProcessDetailList_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessKind {
    /// With a compute context.
    #[default]
    Compute = 0,
    /// With a graphics context.
    Graphics = 1,
    /// With a compute context of a multi-process service.
    Mps = 2,
}

/// All processes of a node, in the order in which they began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Processes(Vec<Process>);

impl Processes {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Process> {
        self.0.iter()
    }

    /// Those of a GPU, by its UUID.
    pub fn of<'a>(&'a self, gpu: &'a str) -> impl Iterator<Item = &'a Process> {
        self.0.iter().filter(move |process| process.gpu == gpu)
    }

    /// Whether none runs.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether what the processes of a GPU run on is there: the GPU itself while MIG is off, else their instances.
    fn fit(&self, gpu: &str, mig: Option<&GpuMig>) -> bool {
        let is_there = |place: InstancePlace| {
            let instance = mig.and_then(|mig| mig.instances.get(&place.gpu_instance));
            instance.is_some_and(|instance| instance.compute.contains_key(&place.compute_instance))
        };
        let is_whole = !mig.is_some_and(|mig| mig.enabled);
        self.of(gpu).all(|process| process.instance.map_or(is_whole, is_there))
    }

    /// The lives to which processes are tied, each once.
    pub fn lives(&self) -> impl Iterator<Item = &str> {
        distinct(self.0.iter().filter_map(|process| process.life.as_deref())).into_iter()
    }

    /// Takes out those that end.
    fn take(&mut self, ends: impl Fn(&Process) -> bool) -> Vec<Process> {
        self.0.extract_if(.., |process| ends(process)).collect()
    }
}

/// Each once, where it stands first.
fn distinct<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut found = Vec::new();
    for item in items {
        if !found.contains(&item) {
            found.push(item);
        }
    }
    found
}
