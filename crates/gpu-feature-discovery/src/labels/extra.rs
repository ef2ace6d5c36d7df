//! Groups of labels that are made on request. What GPUs answer differently is `mixed`, or, of a number, what every GPU
//! has at least; what none answers has no label.

use std::collections::BTreeSet;

use gpu_model::names::{
    LABEL_CONFIDENTIAL_COMPUTE, LABEL_DRIVER_FLAVOUR, LABEL_ECC, LABEL_FABRIC_STATE, LABEL_GSP,
    LABEL_MIG_ROOM, LABEL_NUMA_COUNT, LABEL_NVLINK_COUNT, LABEL_PCIE_GENERATION, LABEL_PCIE_WIDTH,
    LABEL_POWER_LIMIT,
};
use gpu_model::{Details, FabricState, GpuDetails, Reading};

use node_host::DriverFlavour;

use super::node::Node;
use super::sheet::{LabelValue, Sheet};
use super::whole::count;
use crate::facts::{Facts, Group};

pub(super) fn label(
    group: Group,
    facts: &Facts,
    node: &Node<'_>,
    details: &Details,
    gpus: &[&GpuDetails],
    sheet: &mut Sheet,
) {
    match group {
        Group::Ecc => agreed(LABEL_ECC, gpus, |gpu| gpu.ecc.value().map(|is| word(*is)), sheet),
        Group::NvLink => least(LABEL_NVLINK_COUNT, gpus, |gpu| gpu.nvlinks_up.value().copied(), sheet),
        Group::Pcie => {
            least(LABEL_PCIE_GENERATION, gpus, |gpu| gpu.pcie.value().map(|link| link.generation), sheet);
            least(LABEL_PCIE_WIDTH, gpus, |gpu| gpu.pcie.value().map(|link| link.width), sheet);
        }
        Group::Numa => {
            let nodes: BTreeSet<&u32> = node.gpus.iter().filter_map(|gpu| gpu.numa_node.value()).collect();
            if !nodes.is_empty() {
                sheet.put(LABEL_NUMA_COUNT, count(nodes.len()));
            }
        }
        Group::Power => {
            let watts =
                |gpu: &GpuDetails| gpu.power_limit_milliwatts.value().map(|milliwatts| milliwatts / 1000);
            least(LABEL_POWER_LIMIT, gpus, watts, sheet);
        }
        Group::DriverFlavour => {
            if let Some(flavour) = facts.flavour {
                let name = match flavour {
                    DriverFlavour::Open => "open",
                    DriverFlavour::Proprietary => "proprietary",
                };
                sheet.put(LABEL_DRIVER_FLAVOUR, LabelValue::text(name));
            }
        }
        Group::Gsp => agreed(LABEL_GSP, gpus, |gpu| gpu.gsp.value().map(|is| word(*is)), sheet),
        Group::ConfidentialCompute => {
            if let Reading::Value(is) = details.confidential_compute {
                sheet.put(LABEL_CONFIDENTIAL_COMPUTE, LabelValue::flag(is));
            }
        }
        Group::MigRoom => room(gpus, sheet),
        Group::Fabric => agreed(LABEL_FABRIC_STATE, gpus, |gpu| gpu.fabric.value().map(state), sheet),
    }
}

fn word(is: bool) -> &'static str {
    if is { "true" } else { "false" }
}

fn state(state: &FabricState) -> &'static str {
    match state {
        FabricState::NotStarted => "not-started",
        FabricState::InProgress => "in-progress",
        FabricState::Joined { .. } => "joined",
        FabricState::Failed { .. } => "failed",
    }
}

fn agreed(
    key: &str,
    gpus: &[&GpuDetails],
    of: impl Fn(&GpuDetails) -> Option<&'static str>,
    sheet: &mut Sheet,
) {
    let answers: BTreeSet<&str> = gpus.iter().filter_map(|gpu| of(gpu)).collect();
    match answers.into_iter().collect::<Vec<_>>().as_slice() {
        [] => {}
        [only] => sheet.put(key, LabelValue::text(only)),
        _ => sheet.put(key, LabelValue::text("mixed")),
    }
}

fn least(key: &str, gpus: &[&GpuDetails], of: impl Fn(&GpuDetails) -> Option<u32>, sheet: &mut Sheet) {
    if let Some(number) = gpus.iter().filter_map(|gpu| of(gpu)).min() {
        sheet.put(key, LabelValue::number(number));
    }
}

/// The largest profile on any GPU; `none` where all are full.
fn room(gpus: &[&GpuDetails], sheet: &mut Sheet) {
    let mut readings = gpus.iter().filter_map(|gpu| gpu.mig_room.value()).peekable();
    if readings.peek().is_some() {
        let largest = readings.flatten().max();
        let name = largest.map_or("none".to_owned(), |profile| profile.to_string().replace('+', "."));
        sheet.put(LABEL_MIG_ROOM, LabelValue::text(&name));
    }
}
