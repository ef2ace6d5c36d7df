//! The clique of the NVLink fabric in which the GPUs are: what a job over several nodes needs to be in one.

use std::collections::BTreeSet;

use gpu_model::names::LABEL_GPU_CLIQUE;
use gpu_model::{FabricState, GpuDetails, Reading};

use super::sheet::{LabelValue, Sheet};

/// Only where all GPUs that have joined one are in the same.
pub(super) fn label(gpus: &[&GpuDetails], sheet: &mut Sheet) {
    let joined = gpus.iter().filter_map(|gpu| match &gpu.fabric {
        Reading::Value(FabricState::Joined { cluster: Some(cluster), clique }) if is_one(cluster) => {
            Some((cluster, *clique))
        }
        _ => None,
    });
    let cliques: BTreeSet<(&String, u32)> = joined.collect();
    let mut all = cliques.iter();
    match (all.next(), all.next()) {
        (Some((cluster, clique)), None) => {
            sheet.put(LABEL_GPU_CLIQUE, LabelValue::with_suffix(cluster, &format!(".{clique}")));
        }
        (Some(_), Some(_)) => {
            let list: Vec<String> =
                cliques.iter().map(|(cluster, clique)| format!("{cluster}.{clique}")).collect();
            sheet.remark(format!("GPUs are in several cliques, {}: no label names one", list.join(", ")));
        }
        (None, _) => {}
    }
}

/// Whether it names a cluster: a GPU that is in none may have a UUID of zeros.
fn is_one(cluster: &str) -> bool {
    cluster.bytes().any(|byte| !matches!(byte, b'0' | b'-' | b' '))
}
