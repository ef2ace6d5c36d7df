//! What machine it is.

use gpu_model::names::LABEL_GPU_MACHINE;

use super::sheet::{LabelValue, Sheet};
use crate::facts::Facts;

/// As NVIDIA's gpu-feature-discovery calls a machine that has no name.
const UNKNOWN: &str = "unknown";

pub(super) fn label(facts: &Facts, sheet: &mut Sheet) {
    sheet.put(LABEL_GPU_MACHINE, LabelValue::text(facts.machine.as_deref().unwrap_or(UNKNOWN)));
}
