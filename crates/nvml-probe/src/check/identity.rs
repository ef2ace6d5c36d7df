//! What GPUs are called, and that they are found again by it.

use std::collections::BTreeMap;

use super::{Findings, number, text};
use crate::walk::Walk;

/// Functions that find a GPU by what it is called.
const LOOKUPS: &[&str] = &[
    "nvmlDeviceGetHandleByUUID",
    "nvmlDeviceGetHandleByPciBusId",
    "nvmlDeviceGetHandleByPciBusId_v2",
    "nvmlDeviceGetHandleBySerial",
];
/// Of two boards never the same. A serial number can be that of a board with two GPUs.
const NAMES: &[(&str, Option<&str>)] =
    &[("nvmlDeviceGetUUID", None), ("nvmlDeviceGetPciInfo_v3", Some("busId"))];
const SERIAL: &str = "nvmlDeviceGetSerial";

/// A GPU is found again by all that it is called.
pub fn identities(walks: &[Walk], findings: &mut Findings) {
    let Some(walk) = walks.first() else { return };
    let shared_serial = |serial: &str| {
        walk.gpus.iter().filter(|gpu| text(&gpu.answers, SERIAL, None) == Some(serial)).count() > 1
    };
    for (index, gpu) in walk.gpus.iter().enumerate() {
        let (of, answers) = (format!("GPU {index}"), &gpu.answers);
        if let Some(told) = number(answers, "nvmlDeviceGetIndex", None) {
            findings.demand(told == index as u64, || format!("{of} says that its index is {told}"));
        }
        for lookup in LOOKUPS {
            let by_serial = lookup.ends_with("Serial");
            if by_serial && text(answers, SERIAL, None).is_some_and(shared_serial) {
                continue;
            }
            if let Some(found) = text(answers, lookup, None) {
                findings.demand(found == of, || format!("{lookup} with what {of} is called gives {found}"));
            }
        }
        for (mig, answers) in &gpu.mig_devices {
            let of = format!("MIG device {index}/{mig}");
            if let Some(found) = text(answers, "nvmlDeviceGetHandleByUUID", None) {
                findings.demand(found == of, || format!("the UUID of {of} leads to {found}"));
            }
        }
    }
    for (call, part) in NAMES {
        let mut known: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, gpu) in walk.gpus.iter().enumerate() {
            let Some(name) = text(&gpu.answers, call, *part) else { continue };
            let before = known.insert(name, index);
            findings.demand(before.is_none(), || {
                format!("GPU {} and GPU {index} have one {call}: {name}", before.unwrap_or_default())
            });
        }
    }
    let mut minors: BTreeMap<u64, usize> = BTreeMap::new();
    for (index, gpu) in walk.gpus.iter().enumerate() {
        let Some(minor) = number(&gpu.answers, "nvmlDeviceGetMinorNumber", None) else { continue };
        let before = minors.insert(minor, index);
        findings.demand(before.is_none(), || {
            format!("GPU {} and GPU {index} have one minor number: {minor}", before.unwrap_or_default())
        });
    }
}

/// All functions that tell a PCI address tell the same.
pub fn addresses(walks: &[Walk], findings: &mut Findings) {
    const CALL: &str = "nvmlDeviceGetPciInfo_v3";
    for (index, gpu) in walks.iter().take(1).flat_map(|walk| walk.gpus.iter().enumerate()) {
        let (of, answers) = (format!("GPU {index}"), &gpu.answers);
        let part = |name: &str| number(answers, CALL, Some(name));
        let written = match (part("domain"), part("bus"), part("device")) {
            (Some(domain), Some(bus), Some(device)) => Some(format!("{domain:08X}:{bus:02X}:{device:02X}.0")),
            _ => None,
        };
        let told = text(answers, CALL, Some("busId")).map(str::to_uppercase);
        findings.same(&of, ("its numbers", written), ("busId", told));
        for other in ["nvmlDeviceGetPciInfo", "nvmlDeviceGetPciInfo_v2", "nvmlDeviceGetPciInfoExt"] {
            for name in ["domain", "bus", "device", "pciDeviceId"] {
                let theirs = number(answers, other, Some(name));
                findings.same(&format!("{of}, {name}"), (CALL, part(name)), (other, theirs));
            }
        }
    }
}
