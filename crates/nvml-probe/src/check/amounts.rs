//! Amounts: memory, power limits, and field values beside the functions that tell the same.

use super::{Findings, number};
use crate::walk::{Answers, Walk};

/// The parts of memory that are the whole.
const MEMORY: &[(&str, &str, &[&str])] = &[
    ("nvmlDeviceGetMemoryInfo", "total", &["free", "used"]),
    ("nvmlDeviceGetMemoryInfo_v2", "total", &["free", "used", "reserved"]),
    ("nvmlDeviceGetBAR1MemoryInfo", "bar1Total", &["bar1Free", "bar1Used"]),
];

/// Fields that are settings and states, and the function that tells the same. Numbers: `NVML_FI_*` of NVML's header.
const SAME: &[(u32, &str, Option<&str>)] = &[
    (1, "nvmlDeviceGetEccMode", Some("current")),
    (2, "nvmlDeviceGetEccMode", Some("pending")),
    (31, "nvmlDeviceGetRetiredPagesPendingStatus", None),
    (144, "nvmlDeviceGetRemappedRows", Some("isPending")),
    (145, "nvmlDeviceGetRemappedRows", Some("failureOccurred")),
];

/// Fields that are counters: between what the function says before and after.
const BETWEEN: &[(u32, &str, Option<&str>)] = &[
    (83, "nvmlDeviceGetTotalEnergyConsumption", None),
    (94, "nvmlDeviceGetPcieReplayCounter", None),
    (142, "nvmlDeviceGetRemappedRows", Some("corrRows")),
    (143, "nvmlDeviceGetRemappedRows", Some("uncRows")),
    (3, "nvmlDeviceGetTotalEccErrors(0, 0)", None),
    (4, "nvmlDeviceGetTotalEccErrors(1, 0)", None),
    (5, "nvmlDeviceGetTotalEccErrors(0, 1)", None),
    (6, "nvmlDeviceGetTotalEccErrors(1, 1)", None),
];

/// The parts of memory are the whole, and two versions of a function tell the same whole.
pub fn memory(walks: &[Walk], findings: &mut Findings) {
    for (of, answers) in walks.iter().flat_map(sections) {
        for (call, total, parts) in MEMORY {
            let Some(total) = number(answers, call, Some(total)) else { continue };
            let told = parts.iter().map(|part| number(answers, call, Some(part)));
            let Some(sum) = told.sum::<Option<u64>>() else { continue };
            findings.demand(sum == total, || {
                format!("{of}: {call}: {} are {sum} of {total}", parts.join(" and "))
            });
        }
        let total = |call| number(answers, call, Some("total"));
        let (old, new) = ("nvmlDeviceGetMemoryInfo", "nvmlDeviceGetMemoryInfo_v2");
        findings.same(&of, (old, total(old)), (new, total(new)));
    }
}

/// Power limits are where they may be.
pub fn power(walks: &[Walk], findings: &mut Findings) {
    for (of, answers) in walks.iter().take(1).flat_map(sections) {
        let constraint = |part| number(answers, "nvmlDeviceGetPowerManagementLimitConstraints", Some(part));
        let (Some(least), Some(most)) = (constraint("minLimit"), constraint("maxLimit")) else { continue };
        for call in ["nvmlDeviceGetPowerManagementLimit", "nvmlDeviceGetPowerManagementDefaultLimit"] {
            let Some(limit) = number(answers, call, None) else { continue };
            findings.demand((least..=most).contains(&limit), || {
                format!("{of}: {call} is {limit}, not within {least} to {most}")
            });
        }
        let limit = number(answers, "nvmlDeviceGetPowerManagementLimit", None);
        let enforced = number(answers, "nvmlDeviceGetEnforcedPowerLimit", None);
        if let Some((limit, enforced)) = limit.zip(enforced) {
            findings
                .demand(enforced <= limit, || format!("{of}: {enforced} is enforced, the limit is {limit}"));
        }
    }
}

/// Field values are what the functions say.
pub fn fields(walks: &[Walk], findings: &mut Findings) {
    for triple in walks.windows(3) {
        let [before, now, after] = triple else { continue };
        let gpus = before.gpus.iter().zip(&now.gpus).zip(&after.gpus).enumerate();
        for (index, ((before, now), after)) in gpus {
            let of = |id: u32| format!("GPU {index}, field {id}");
            for (id, call, part) in SAME {
                let told = number(&now.answers, call, *part);
                findings.same(&of(*id), ("it", field(&now.answers, *id)), (call, told));
            }
            for (id, call, part) in BETWEEN {
                let (Some(least), Some(value), Some(most)) = (
                    number(&before.answers, call, *part),
                    field(&now.answers, *id),
                    number(&after.answers, call, *part),
                ) else {
                    continue;
                };
                findings.demand((least..=most).contains(&value), || {
                    format!("{} is {value}, but {call} was {least} before and {most} afterwards", of(*id))
                });
            }
        }
    }
}

/// A field's value.
fn field(answers: &Answers, id: u32) -> Option<u64> {
    number(answers, "nvmlDeviceGetFieldValues", Some(&format!("{id:03}")))
}

/// GPUs and MIG devices.
fn sections(walk: &Walk) -> impl Iterator<Item = (String, &Answers)> {
    walk.gpus.iter().enumerate().flat_map(|(index, gpu)| {
        let devices = gpu.mig_devices.iter();
        let devices = devices.map(move |(mig, answers)| (format!("MIG device {index}/{mig}"), answers));
        std::iter::once((format!("GPU {index}"), &gpu.answers)).chain(devices)
    })
}
