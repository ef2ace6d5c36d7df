//! Counters: what NVML counts since the driver was loaded, or for a board's whole life, never falls while no one resets it.

use serde_json::Value;

use super::Findings;
use crate::compare::sections;
use crate::walk::Walk;

/// Functions whose numbers are counters or times that go on; arguments are left out.
const COUNTERS: &[&str] = &[
    "nvmlDeviceGetTotalEnergyConsumption",
    "nvmlDeviceGetPcieReplayCounter",
    "nvmlDeviceGetViolationStatus",
    "nvmlDeviceGetTotalEccErrors",
    "nvmlDeviceGetMemoryErrorCounter",
    "nvmlDeviceGetNvLinkErrorCounter",
];
/// Field values that are counters: ECC errors, retired pages, time that clocks were held back, energy, PCIe replays, NVLink
/// data, remapped rows, PCIe errors and bytes. Numbers: `NVML_FI_*` of NVML's header.
const FIELDS: &[std::ops::RangeInclusive<u32>] =
    &[3..=30, 74..=81, 83..=83, 94..=94, 138..=143, 173..=183, 197..=198];

/// No counter falls from one walk to the next.
pub fn rise(walks: &[Walk], findings: &mut Findings) {
    for pair in walks.windows(2) {
        let [before, after] = pair else { continue };
        let later = sections(after);
        for (of, answers) in sections(before) {
            let Some((_, then)) = later.iter().find(|(known, _)| *known == of) else { continue };
            for (call, answer) in answers {
                let name = call.split('(').next().unwrap_or_default();
                let Some(later) = then.get(call) else { continue };
                if COUNTERS.contains(&name) {
                    not_less(&format!("{of}: {call}"), answer, later, findings);
                }
                if name == "nvmlDeviceGetFieldValues" {
                    for id in FIELDS.iter().cloned().flatten() {
                        let key = format!("{id:03}");
                        if let (Some(answer), Some(later)) = (answer.get(&key), later.get(&key)) {
                            not_less(&format!("{of}: field {id}"), answer, later, findings);
                        }
                    }
                }
            }
        }
    }
}

/// Neither a number nor a part of an answer is less than before.
fn not_less(of: &str, before: &Value, after: &Value, findings: &mut Findings) {
    if let (Some(before), Some(after)) = (before.as_u64(), after.as_u64()) {
        findings.demand(before <= after, || format!("{of} falls from {before} to {after}"));
    }
    for (part, value) in before.as_object().into_iter().flatten() {
        if let Some(later) = after.get(part).filter(|_| value.is_u64()) {
            not_less(&format!("{of}, {part},"), value, later, findings);
        }
    }
}
