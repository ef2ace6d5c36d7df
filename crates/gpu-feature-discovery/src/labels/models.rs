//! A set of labels for each model of GPU, so that a node with several is found by each.

use gpu_model::names::{LABEL_MODEL_PREFIX, SUFFIX_COUNT, SUFFIX_MEMORY};

use super::node::{Node, models};
use super::sheet::{LabelValue, Sheet};
use super::whole::{count, memory_mib, put};

pub(super) fn label(node: &Node<'_>, sheet: &mut Sheet) {
    for model in models(&node.gpus, |gpu| gpu) {
        let prefix = format!("{LABEL_MODEL_PREFIX}{}", model.slug);
        put(&prefix, SUFFIX_COUNT, count(model.parts.len()), sheet);
        if let Some(mib) = memory_mib(&model.parts) {
            put(&prefix, SUFFIX_MEMORY, LabelValue::number(mib), sheet);
        }
    }
}
