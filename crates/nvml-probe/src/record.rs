//! A recording: from all that a node answers to the file by which the simulator makes it again. It knows that file's
//! keys and asks nothing itself, so that a walk from elsewhere can be recorded too.
//!
//! Of `nvml-sim` it uses the presets and what they mean, as a reader of the file does; nothing of its engine.

mod facts;
mod links;
mod mig;
mod places;
mod preset;
mod processes;
mod write;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

use crate::walk::{Answers, GpuWalk, Walk};
use preset::Nearest;

/// Why a walk cannot be recorded.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RecordError {
    /// The driver does not tell its version.
    #[error("{0} gives no answer: without it no node file can be written")]
    NoAnswer(&'static str),
    /// A GPU tells no name or PCI address.
    #[error("GPU {gpu} gives no answer to {call}: is it lost?")]
    NoAnswerOfGpu {
        /// Its index.
        gpu: usize,
        /// What was asked.
        call: &'static str,
    },
    /// The simulator comes without a preset.
    #[error("the simulator has no GPU preset that could be read")]
    NoPreset,
}

/// A node file, before it is text.
#[derive(Debug, Default)]
struct Recording {
    driver: String,
    nvml: Option<String>,
    cuda: String,
    machine: Option<String>,
    cpus: BTreeMap<u32, String>,
    sockets: Vec<Vec<u32>>,
    nvswitches: Vec<String>,
    nvswitch_device: Option<u32>,
    fabric: Option<Fabric>,
    gpus: Vec<Gpu>,
    processes: Vec<Process>,
    /// What could not be recorded, in words.
    notes: Vec<String>,
}

/// The NVLink fabric.
#[derive(Debug, Default, PartialEq, Eq)]
struct Fabric {
    cluster: String,
    clique: u64,
}

/// A GPU of a node file.
#[derive(Debug, Default)]
struct Gpu {
    model: &'static str,
    pci: String,
    numa: Option<u32>,
    memory_numa: Option<u32>,
    pcie: Option<[u16; 4]>,
    minor: Option<u64>,
    uuid: Option<String>,
    serial: Option<String>,
    mig_instances: Option<Vec<String>>,
    peers: Option<Vec<usize>>,
    overrides: Vec<(String, Value)>,
}

/// A process of a node file.
#[derive(Debug, Default)]
struct Process {
    gpu: usize,
    instance: Option<(u64, u64)>,
    pid: u64,
    name: Option<String>,
    kind: &'static str,
    memory_bytes: u64,
    /// Key -> percent of the GPU's time.
    uses: Vec<(&'static str, u64)>,
}

/// The preset that a GPU is nearest to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Nearness {
    /// Its name.
    pub preset: &'static str,
    /// The keys in which the GPU differs from it.
    pub differs: Vec<String>,
}

/// The nearest presets of all GPUs that tell what they are.
pub fn nearness(walk: &Walk) -> Vec<Nearness> {
    let presets = preset::all();
    let near = walk.gpus.iter().filter_map(|gpu| {
        let Nearest { name, overrides } = nearest(gpu, &presets)?;
        Some(Nearness { preset: name, differs: overrides.into_iter().map(|(key, _)| key).collect() })
    });
    near.collect()
}

fn nearest(gpu: &GpuWalk, presets: &[preset::Complete]) -> Option<Nearest> {
    let mut found = facts::of(gpu);
    found.extend(mig::of(gpu, presets, &found));
    preset::nearest(presets, found)
}

/// The node file of a walk.
pub fn record(walk: &Walk) -> Result<String, RecordError> {
    let system = |call: &'static str| text(&walk.system, call).ok_or(RecordError::NoAnswer(call));
    let cuda = number(&walk.system, "nvmlSystemGetCudaDriverVersion_v2")
        .ok_or(RecordError::NoAnswer("nvmlSystemGetCudaDriverVersion_v2"))?;
    let mut recording = Recording {
        driver: system("nvmlSystemGetDriverVersion")?,
        nvml: text(&walk.system, "nvmlSystemGetNVMLVersion"),
        cuda: format!("{}.{}", cuda / 1000, cuda % 1000 / 10),
        machine: walk.host.as_ref().and_then(|host| host.machine.clone()),
        ..Recording::default()
    };
    let presets = preset::all();
    for (index, gpu) in walk.gpus.iter().enumerate() {
        let answers = &gpu.answers;
        let missing = |call| RecordError::NoAnswerOfGpu { gpu: index, call };
        let pci = facts::pci(answers).ok_or_else(|| missing("nvmlDeviceGetPciInfo_v3"))?;
        text(answers, "nvmlDeviceGetName").ok_or_else(|| missing("nvmlDeviceGetName"))?;
        let Nearest { name, overrides } = nearest(gpu, &presets).ok_or(RecordError::NoPreset)?;
        let mig_instances = mig::instances(index, gpu, &mut recording.notes);
        recording.gpus.push(Gpu {
            model: name,
            pci,
            memory_numa: number(answers, "nvmlDeviceGetNumaNodeId").and_then(|numa| u32::try_from(numa).ok()),
            minor: number(answers, "nvmlDeviceGetMinorNumber").filter(|minor| *minor != index as u64),
            uuid: text(answers, "nvmlDeviceGetUUID"),
            serial: text(answers, "nvmlDeviceGetSerial"),
            mig_instances,
            overrides,
            ..Gpu::default()
        });
    }
    places::fill(&mut recording, walk);
    links::fill(&mut recording, walk);
    processes::fill(&mut recording, walk);
    Ok(write::text(&recording))
}

/// The answer of a call, where it is a text.
fn text(answers: &Answers, call: &str) -> Option<String> {
    answers.get(call)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The answer of a call, where it is a number.
fn number(answers: &Answers, call: &str) -> Option<u64> {
    answers.get(call)?.as_u64()
}

/// A named part of a call's answer, where it is a number.
fn value(answers: &Answers, call: &str, name: &str) -> Option<u64> {
    answers.get(call)?.get(name)?.as_u64()
}
