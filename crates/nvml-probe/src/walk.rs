//! Asks every getter of everything that a node has: the node, its GPUs, MIG devices and instances. It knows how they
//! are found, and judges no answer.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::call::{About, Known, code_of, failure};
use crate::code::Code;
use crate::host::Host;
use crate::session::Session;
use crate::table::{self, Argument, Getter, Scope};

/// More ids than a driver gives to GPU instances, compute instances and MIG devices.
const GPU_INSTANCES_END: u32 = 32;
const COMPUTE_INSTANCES_END: u32 = 8;
const MIG_DEVICES_END: u32 = 16;

/// Function and arguments -> what it answered: a value, or `{"code": NAME}`.
pub type Answers = BTreeMap<String, Value>;

/// All that a node answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Walk {
    /// Whether the library says that it is a simulation.
    pub simulated: bool,
    /// What the host's files tell, if they were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
    /// Calls in which the library wrote outside of the memory that it was given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trespasses: Vec<String>,
    /// Of the node.
    pub system: Answers,
    /// By NVML index.
    pub gpus: Vec<GpuWalk>,
}

/// All that a GPU answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct GpuWalk {
    /// Of the GPU.
    pub answers: Answers,
    /// Of its MIG devices, by index.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mig_devices: BTreeMap<u32, Answers>,
    /// Of its GPU instances, by id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub gpu_instances: BTreeMap<u32, InstanceWalk>,
}

/// All that a GPU instance answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct InstanceWalk {
    /// Of the instance.
    pub answers: Answers,
    /// Of its compute instances, by id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub compute_instances: BTreeMap<u32, Answers>,
}

/// Walks a node.
pub fn walk(session: &mut Session, host: Option<Host>) -> Walk {
    let gpus = gpus(session);
    let finding = find_all(session, &gpus);
    let mut walker = Walker { session, gpus: &gpus, pids: BTreeSet::new(), trespasses: BTreeSet::new() };
    let walked = finding.iter().enumerate().map(|(index, found)| {
        let others: Vec<u32> = (0..gpus.len() as u32).filter(|other| *other as usize != index).collect();
        let answers = walker.answers(Scope::Device, &found.gpu, &others);
        let mig = |(index, device): (&u32, &About)| {
            (*index, walker.answers(Scope::Device, device, others.get(..1).unwrap_or_default()))
        };
        let mig_devices = found.mig_devices.iter().map(mig).collect();
        let instance = |(id, (of, compute)): (&u32, &(About, BTreeMap<u32, About>))| {
            let answers = walker.answers(Scope::GpuInstance, of, &[]);
            let one = |(id, about): (&u32, &About)| (*id, walker.answers(Scope::ComputeInstance, about, &[]));
            (*id, InstanceWalk { answers, compute_instances: compute.iter().map(one).collect() })
        };
        let gpu_instances = found.gpu_instances.iter().map(instance).collect();
        GpuWalk { answers, mig_devices, gpu_instances }
    });
    let gpus: Vec<GpuWalk> = walked.collect();
    walker.pids = gpus.iter().flat_map(pids).collect();
    let system = walker.answers(Scope::System, &About::default(), &[]);
    let trespasses = walker.trespasses.into_iter().collect();
    Walk { simulated: session.is_simulated(), host, trespasses, system, gpus }
}

/// The handles of a node's GPUs by index. A lost GPU may have none.
pub fn gpus(session: &mut Session) -> Vec<u64> {
    let node = About::default();
    let count = session.value("nvmlDeviceGetCount_v2", &node, &[]);
    let count = count.and_then(|count| count.as_u64()).unwrap_or(0);
    let mut handles = Vec::new();
    for index in 0..u32::try_from(count).unwrap_or(0) {
        let handle = session.handle("nvmlDeviceGetHandleByIndex_v2", &node, &[index]).unwrap_or(0);
        if handle != 0 {
            session.name(handle, format!("GPU {index}"));
        }
        handles.push(handle);
    }
    handles
}

/// A GPU and what it is divided into.
struct Found {
    gpu: About,
    mig_devices: BTreeMap<u32, About>,
    gpu_instances: BTreeMap<u32, (About, BTreeMap<u32, About>)>,
}

fn find_all(session: &mut Session, gpus: &[u64]) -> Vec<Found> {
    let mut all = Vec::new();
    for (index, handle) in gpus.iter().enumerate() {
        let gpu = about(session, *handle);
        let mut mig_devices = BTreeMap::new();
        for mig in 0..MIG_DEVICES_END {
            if let Some(handle) = session.handle("nvmlDeviceGetMigDeviceHandleByIndex", &gpu, &[mig]) {
                session.name(handle, format!("MIG device {index}/{mig}"));
                mig_devices.insert(mig, about(session, handle));
            }
        }
        let mut gpu_instances = BTreeMap::new();
        for id in 0..GPU_INSTANCES_END {
            let Some(handle) = session.handle("nvmlDeviceGetGpuInstanceById", &gpu, &[id]) else { continue };
            session.name(handle, format!("GPU instance {index}/{id}"));
            let instance = About { handle, ..About::default() };
            let mut compute_instances = BTreeMap::new();
            for compute in 0..COMPUTE_INSTANCES_END {
                let name = "nvmlGpuInstanceGetComputeInstanceById";
                if let Some(handle) = session.handle(name, &instance, &[compute]) {
                    session.name(handle, format!("compute instance {index}/{id}/{compute}"));
                    compute_instances.insert(compute, About { handle, ..About::default() });
                }
            }
            gpu_instances.insert(id, (instance, compute_instances));
        }
        all.push(Found { gpu, mig_devices, gpu_instances });
    }
    all
}

/// A GPU or MIG device, with the texts by which it is known.
pub fn about(session: &Session, handle: u64) -> About {
    let about = About { handle, ..About::default() };
    let text = |name: &str| session.value(name, &about, &[])?.as_str().map(str::to_owned);
    let pci = session.value("nvmlDeviceGetPciInfo_v3", &about, &[]);
    let pci = pci.as_ref().and_then(|info| info.get("busId")).and_then(Value::as_str).map(str::to_owned);
    let known = Known { uuid: text("nvmlDeviceGetUUID"), serial: text("nvmlDeviceGetSerial"), pci };
    About { known, ..about }
}

/// The lists of the processes on a GPU, and how those use it, in the words of a node file.
pub const PROCESSES: &[(&str, &str)] = &[
    ("nvmlDeviceGetComputeRunningProcesses_v3", "compute"),
    ("nvmlDeviceGetGraphicsRunningProcesses_v3", "graphics"),
    ("nvmlDeviceGetMPSComputeRunningProcesses_v3", "mps"),
];

/// The processes on a GPU.
fn pids(gpu: &GpuWalk) -> Vec<u32> {
    let lists = PROCESSES.iter().filter_map(|(call, _)| gpu.answers.get(*call)?.as_array());
    let pid = |process: &Value| u32::try_from(process.get("pid")?.as_u64()?).ok();
    lists.flatten().filter_map(pid).collect()
}

struct Walker<'a> {
    session: &'a Session,
    gpus: &'a [u64],
    /// Processes that were found on GPUs.
    pids: BTreeSet<u32>,
    trespasses: BTreeSet<String>,
}

impl Walker<'_> {
    /// What all getters of a scope answer; `others` are the GPUs that are put beside the one asked about.
    fn answers(&mut self, scope: Scope, about: &About, others: &[u32]) -> Answers {
        let mut answers = Answers::new();
        for getter in table::all().filter(|getter| getter.scope() == scope) {
            if !self.session.library.has(getter.name) {
                answers.insert(getter.name.to_owned(), json!({ "code": "missing" }));
                continue;
            }
            let mut of_it = Vec::new();
            for numbers in combinations(getter, others, &self.pids) {
                let answer = self.answer(getter, about, &numbers);
                of_it.extend(answer.map(|answer| (numbers, answer)));
            }
            answers.extend(told(getter.name, of_it));
        }
        answers
    }

    /// One answer. The numbers are those of other GPUs and of choices, in the prototype's order.
    fn answer(&mut self, getter: &Getter, about: &About, numbers: &[u32]) -> Option<Value> {
        let (mut choices, mut about) = (Vec::new(), about.clone());
        let asked = getter.arguments.iter().filter(|argument| is_number(argument));
        for (argument, number) in asked.zip(numbers) {
            match argument {
                Argument::OtherGpu => about.other = self.gpus.get(*number as usize).copied().unwrap_or(0),
                _ => choices.push(*number),
            }
        }
        let (code, mut call) = self.session.ask(getter, &about, &choices)?;
        if !call.is_intact() {
            self.trespasses.insert(key(getter.name, numbers));
        }
        Some(match code {
            Code::SUCCESS => call.answer(&|handle| self.session.name_of(handle)),
            code => failure(code),
        })
    }
}

fn is_number(argument: &Argument) -> bool {
    matches!(argument, Argument::OtherGpu | Argument::Choice(..) | Argument::Pid)
}

/// All combinations of the numbers that a function leaves to its caller.
fn combinations(getter: &Getter, others: &[u32], pids: &BTreeSet<u32>) -> Vec<Vec<u32>> {
    let mut all = vec![Vec::new()];
    for argument in getter.arguments {
        let numbers: Vec<u32> = match argument {
            Argument::OtherGpu => others.to_vec(),
            Argument::Pid => pids.iter().copied().collect(),
            Argument::Choice(first, end, step) => (*first..*end).step_by(*step as usize).collect(),
            _ => continue,
        };
        let with = |before: &Vec<u32>| {
            let before = before.clone();
            numbers.iter().map(move |number| before.iter().copied().chain([*number]).collect()).collect()
        };
        all = all.iter().flat_map(|before| -> Vec<Vec<u32>> { with(before) }).collect();
    }
    all
}

fn key(name: &str, numbers: &[u32]) -> String {
    match numbers {
        [] => name.to_owned(),
        some => format!("{name}({})", some.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")),
    }
}

/// The answers of a function as they are told: a failure that all share once, and of the others those that say
/// something: which numbers there are, no one knows beforehand.
fn told(name: &str, answers: Vec<(Vec<u32>, Value)>) -> Vec<(String, Value)> {
    let shared = answers.first().and_then(|(_, answer)| code_of(answer)).map(str::to_owned);
    if let Some(shared) = &shared
        && answers.iter().all(|(_, answer)| code_of(answer) == Some(shared))
    {
        return vec![(name.to_owned(), json!({ "code": shared }))];
    }
    let says = |(numbers, answer): &(Vec<u32>, Value)| {
        numbers.is_empty() || code_of(answer) != Some("INVALID_ARGUMENT")
    };
    answers.into_iter().filter(says).map(|(numbers, answer)| (key(name, &numbers), answer)).collect()
}
