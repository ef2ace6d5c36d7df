//! MIG from a GPU's answers: the instances that it has, and its table: profiles of GPU instances with their places. Those of compute instances are
//! told only by a GPU instance that lives, so they are taken from the nearest preset with the same profiles.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::facts::{Facts, amount};
use super::preset::{Complete, nearest};
use super::{number, value};
use crate::call::code_of;
use crate::walk::{Answers, GpuWalk, InstanceWalk};

/// More than the highest number of a GPU instance profile in NVML's header.
const PROFILES_END: u32 = 18;
const INFO: &str = "nvmlDeviceGetGpuInstanceProfileInfoV";
const PLACES: &str = "nvmlDeviceGetGpuInstancePossiblePlacements_v2";

/// The keys about MIG of a GPU whose other facts are known.
pub fn of(gpu: &GpuWalk, presets: &[Complete], facts: &Facts) -> Facts {
    let answers = &gpu.answers;
    if answers.get(INFO).and_then(code_of) == Some("NOT_SUPPORTED") {
        return Facts::from([("mig-devices-max", json!(0))]);
    }
    let profiles: Vec<Value> = (0..PROFILES_END).filter_map(|number| profile(answers, number)).collect();
    let most = profiles.iter().filter_map(|profile| profile.get("count")?.as_u64()).max();
    let Some(most) = most else { return Facts::new() };
    let on = number(answers, "nvmlDeviceGetMaxMigDeviceCount").filter(|count| *count > 0);
    let mut found = Facts::from([("mig-devices-max", json!(on.unwrap_or(most)))]);
    let base = nearest(presets, facts.clone());
    let base = base.and_then(|nearest| presets.iter().find(|preset| preset.name == nearest.name));
    found.extend(table(&profiles, base).map(|table| ("mig", table)));
    found
}

/// The GPU instances of a GPU with MIG on, as a node file has them: in the order that gives the MIG devices their indexes.
pub fn instances(index: usize, gpu: &GpuWalk, notes: &mut Vec<String>) -> Option<Vec<String>> {
    let mode = |part| value(&gpu.answers, "nvmlDeviceGetMigMode", part);
    let (current, pending) = (mode("currentMode")?, mode("pendingMode")?);
    if current != pending {
        notes.push(format!("GPU {index}: the MIG mode that is pending ({pending}) is not recorded"));
    }
    if current != 1 {
        return None;
    }
    // GPU and compute instance -> index of their MIG device.
    let device = |(index, answers): (&u32, &Answers)| {
        let id = |call| number(answers, call);
        Some(((id("nvmlDeviceGetGpuInstanceId")?, id("nvmlDeviceGetComputeInstanceId")?), *index))
    };
    let devices: BTreeMap<(u64, u64), u32> = gpu.mig_devices.iter().filter_map(device).collect();
    let first_device = |id: u64| {
        let own = devices.iter().filter(|((of, _), _)| *of == id).map(|(_, index)| *index);
        own.min().unwrap_or(u32::MAX)
    };
    let mut found: Vec<(u64, &InstanceWalk)> =
        gpu.gpu_instances.iter().map(|(id, instance)| (u64::from(*id), instance)).collect();
    found.sort_by_key(|(id, _)| (first_device(*id), *id));

    let ids = found
        .iter()
        .flat_map(|(id, instance)| instance.compute_instances.keys().map(move |ci| (*id, u64::from(*ci))));
    let in_order =
        ids.enumerate().all(|(at, ids)| devices.get(&ids).is_none_or(|index| *index as usize == at));
    let numbered = |instance: &InstanceWalk| {
        instance.compute_instances.keys().copied().eq(0..instance.compute_instances.len() as u32)
    };
    if !in_order || !found.iter().all(|(_, instance)| numbered(instance)) {
        notes.push(format!(
            "GPU {index}: MIG devices or compute instances have other numbers than a node that is made has"
        ));
    }
    Some(found.into_iter().filter_map(|(_, found)| instance(&gpu.answers, found)).collect())
}

/// A GPU instance as a node file has it; its compute instances are left out where one takes all of it.
fn instance(answers: &Answers, instance: &InstanceWalk) -> Option<String> {
    const OWN: &str = "nvmlGpuInstanceGetInfo";
    let info = instance.answers.get(OWN)?;
    let profile_id = value(&instance.answers, OWN, "profileId")?;
    let start = info.get("placement")?.get("start")?.as_u64()?;
    let profile = (0..PROFILES_END).map(|number| format!("{INFO}({number})"));
    let profile = profile.into_iter().find(|call| value(answers, call, "id") == Some(profile_id))?;
    let name = answers.get(&profile)?.get("name")?.as_str()?;
    let name = name.strip_prefix("MIG ").unwrap_or(name);
    let slices = value(answers, &profile, "sliceCount")?;

    let compute = instance.compute_instances.values().filter_map(|answers| {
        let info = answers.get("nvmlComputeInstanceGetInfo_v2")?;
        let place = |part| info.get("placement")?.get(part)?.as_u64();
        Some((info.get("profileId")?.as_u64()?, place("start")?, place("size")?))
    });
    let compute: Vec<(u64, u64, u64)> = compute.collect();
    Some(match compute.as_slice() {
        [] => format!("{name}@{start}/none"),
        [(_, 0, size)] if *size == slices => format!("{name}@{start}"),
        some => {
            let parts = some.iter().map(|(_, start, size)| format!("/{size}c@{start}"));
            format!("{name}@{start}{}", parts.collect::<String>())
        }
    })
}

/// A GPU instance profile, with the keys of a preset.
fn profile(answers: &Answers, profile: u32) -> Option<Value> {
    let info = format!("{INFO}({profile})");
    let info = |name: &str| value(answers, &info, name);
    let id = info("id")?;
    let name = answers.get(&format!("{INFO}({profile})"))?.get("name")?.as_str()?;
    let places = answers.get(&format!("{PLACES}({id})"))?.as_array()?;
    let part = |place: &Value, name: &str| place.get(name).and_then(Value::as_u64);
    let starts: BTreeSet<u64> = places.iter().filter_map(|place| part(place, "start")).collect();
    Some(json!({
        "profile": profile,
        "id": id,
        "name": name.strip_prefix("MIG ").unwrap_or(name),
        "slices": info("sliceCount")?,
        "count": info("instanceCount")?,
        "sms": info("multiprocessorCount")?,
        "memory": amount(info("memorySizeMB")? << 20),
        "size": places.first().and_then(|place| part(place, "size"))?,
        "starts": starts,
        "engines": {
            "copy": info("copyEngineCount")?,
            "decode": info("decoderCount")?,
            "encode": info("encoderCount")?,
            "jpeg": info("jpegCount")?,
            "ofa": info("ofaCount")?,
        },
    }))
}

/// The whole table; nothing where it is the base's, whatever the order of its profiles.
fn table(profiles: &[Value], base: Option<&Complete>) -> Option<Value> {
    let known = base.and_then(|base| base.figures.get("mig"));
    let list = |name: &str| -> Vec<Value> {
        known.and_then(|table| table.get(name)?.as_array()).cloned().unwrap_or_default()
    };
    let gpu_instances = list("gpu-instances");
    if gpu_instances.len() == profiles.len() && profiles.iter().all(|profile| gpu_instances.contains(profile))
    {
        return None;
    }
    let numbers: Vec<&Value> = profiles.iter().filter_map(|profile| profile.get("profile")).collect();
    let in_table = |of: &Value| numbers.contains(&of);
    let kept = list("compute-instances").into_iter().filter_map(|mut profile| {
        let of = profile.get_mut("of")?.as_array_mut()?;
        of.retain(in_table);
        (!of.is_empty()).then_some(profile)
    });
    let end = |profile: &Value| {
        let last = profile.get("starts")?.as_array()?.last()?.as_u64()?;
        Some(last + profile.get("size")?.as_u64()?)
    };
    let most_of = |engine: &str| {
        let of = |profile: &Value| profile.get("engines")?.get(engine)?.as_u64();
        profiles.iter().filter_map(of).max().unwrap_or(0)
    };
    let engine = |name: &str| {
        let known = known.and_then(|table| table.get("engines")?.get(name)?.as_u64()).unwrap_or(0);
        most_of(name).max(known)
    };
    Some(json!({
        "slices": profiles.iter().filter_map(end).max().unwrap_or(0),
        "engines": {
            "copy": engine("copy"),
            "decode": engine("decode"),
            "encode": engine("encode"),
            "jpeg": engine("jpeg"),
            "ofa": engine("ofa"),
        },
        "gpu-instances": profiles,
        "compute-instances": kept.collect::<Vec<_>>(),
    }))
}
