//! Processes on GPUs: those that the lists name, with their memory, and what their last samples say that they use.

use serde_json::Value;

use super::{Process, Recording, text};
use crate::walk::{Answers, PROCESSES, Walk};

const SAMPLES: &str = "nvmlDeviceGetProcessUtilization";
/// Keys of a node file, and the members of a sample.
const USES: &[(&str, &str)] =
    &[("sm", "smUtil"), ("memory-activity", "memUtil"), ("encoder", "encUtil"), ("decoder", "decUtil")];
/// What stands for an instance where there is none.
const NO_INSTANCE: u64 = u32::MAX as u64;

/// Fills in what the walk tells of processes.
pub fn fill(recording: &mut Recording, walk: &Walk) {
    for (index, gpu) in walk.gpus.iter().enumerate() {
        let mut sampled = Vec::new();
        for (call, kind) in PROCESSES {
            for listed in gpu.answers.get(*call).and_then(Value::as_array).into_iter().flatten() {
                let part = |name: &str| listed.get(name).and_then(Value::as_u64);
                let Some(pid) = part("pid") else { continue };
                let id = |name| part(name).filter(|id| *id != NO_INSTANCE);
                // All bits are set where the driver does not tell.
                let memory_bytes = part("usedGpuMemory").filter(|bytes| *bytes != u64::MAX).unwrap_or(0);
                // A sample is of a process, however often it is listed.
                let uses = if sampled.contains(&pid) { Vec::new() } else { uses(&gpu.answers, pid) };
                sampled.push(pid);
                recording.processes.push(Process {
                    gpu: index,
                    instance: id("gpuInstanceId").zip(id("computeInstanceId")),
                    pid,
                    name: text(&walk.system, &format!("nvmlSystemGetProcessName({pid})")),
                    kind,
                    memory_bytes,
                    uses,
                });
            }
        }
    }
}

/// What a process used at its last sample.
fn uses(answers: &Answers, pid: u64) -> Vec<(&'static str, u64)> {
    let samples = answers.get(SAMPLES).and_then(Value::as_array);
    let of = |sample: &&Value| sample.get("pid").and_then(Value::as_u64) == Some(pid);
    let Some(sample) = samples.and_then(|samples| samples.iter().rfind(of)) else { return Vec::new() };
    let used =
        USES.iter().map(|(key, member)| (*key, sample.get(*member).and_then(Value::as_u64).unwrap_or(0)));
    used.filter(|(_, percent)| (1..=100).contains(percent)).collect()
}
