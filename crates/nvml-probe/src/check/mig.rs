//! MIG devices and instances: they belong together, and lie where they may.

use serde_json::Value;

use super::{Findings, number, text};
use crate::walk::{Answers, GpuWalk, Walk};

const PLACES: &str = "nvmlDeviceGetGpuInstancePossiblePlacements_v2";
const INFO: &str = "nvmlGpuInstanceGetInfo";

/// Devices lead to their GPU and instances, and instances lie in places of their own.
pub fn instances(walks: &[Walk], findings: &mut Findings) {
    for (index, gpu) in walks.iter().take(1).flat_map(|walk| walk.gpus.iter().enumerate()) {
        for (mig, answers) in &gpu.mig_devices {
            device(&format!("MIG device {index}/{mig}"), index, gpu, answers, findings);
        }
        let mut taken: Vec<(u32, u64, u64)> = Vec::new();
        for (id, instance) in &gpu.gpu_instances {
            let of = format!("GPU instance {index}/{id}");
            let told = number(&instance.answers, INFO, Some("id"));
            findings.same(&of, ("it", Some(u64::from(*id))), (INFO, told));
            let Some((start, size)) = place(&instance.answers) else { continue };
            if let Some(profile) = number(&instance.answers, INFO, Some("profileId"))
                && let Some(places) =
                    gpu.answers.get(&format!("{PLACES}({profile})")).and_then(Value::as_array)
            {
                let is_it =
                    |place: &Value| part(place, "start").zip(part(place, "size")) == Some((start, size));
                findings.demand(places.iter().any(is_it), || {
                    format!("{of} lies at {start}:{size}, where its profile {profile} has no place")
                });
            }
            for (other, from, slices) in &taken {
                findings.demand(start + size <= *from || from + slices <= start, || {
                    format!("{of} at {start}:{size} lies over instance {other} at {from}:{slices}")
                });
            }
            taken.push((*id, start, size));
        }
    }
}

/// A device's ids are those of instances that are there, and its parent is its GPU.
fn device(of: &str, index: usize, gpu: &GpuWalk, answers: &Answers, findings: &mut Findings) {
    let parent = text(answers, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle", None);
    findings.same(of, ("its place", Some(format!("GPU {index}").as_str())), ("its parent", parent));
    let id = |call| number(answers, call, None).and_then(|id| u32::try_from(id).ok());
    let Some(instance) = id("nvmlDeviceGetGpuInstanceId") else { return };
    let known = gpu.gpu_instances.get(&instance);
    findings.demand(known.is_some(), || format!("{of} is of GPU instance {instance}, which is not there"));
    if let Some((known, compute)) = known.zip(id("nvmlDeviceGetComputeInstanceId")) {
        findings.demand(known.compute_instances.contains_key(&compute), || {
            format!("{of} is of compute instance {compute}, which is not there")
        });
    }
}

fn place(answers: &Answers) -> Option<(u64, u64)> {
    let place = answers.get(INFO)?.get("placement")?;
    Some((part(place, "start")?, part(place, "size")?))
}

fn part(place: &Value, name: &str) -> Option<u64> {
    place.get(name)?.as_u64()
}
