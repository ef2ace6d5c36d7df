//! Labels of physical GPUs, `nvidia.com/gpu.*`: product, how many, how shared, memory, architecture.
//!
//! They speak of GPUs that are handed out whole where there are some, as NVIDIA's do, and of the primary model among
//! them. The count is the node's.

use gpu_model::Gpu;
use gpu_model::names::{
    RESOURCE_GPU, SUFFIX_COMPUTE_MAJOR, SUFFIX_COMPUTE_MINOR, SUFFIX_COUNT, SUFFIX_FAMILY, SUFFIX_MEMORY,
    SUFFIX_PRODUCT, SUFFIX_REPLICAS, SUFFIX_SHARING_STRATEGY,
};

use super::node::{Node, models, primary};
use super::sharing::{Share, Shares};
use super::sheet::{LabelValue, Sheet};

/// Bytes in a MiB.
const MIB: u64 = 1 << 20;

pub(super) fn label(node: &Node<'_>, shares: &Shares<'_>, sheet: &mut Sheet) {
    let whole = node.whole();
    let (name, gpus) = primary(if whole.is_empty() { &node.gpus } else { &whole }, |gpu| gpu);
    let share = if whole.is_empty() { Share::PARTITIONED } else { shares.of_gpus(&gpus) };
    tell_models(node, name, sheet);
    put_product(RESOURCE_GPU, name, "", share, sheet);
    put(RESOURCE_GPU, SUFFIX_COUNT, count(node.gpus.len()), sheet);
    put_share(RESOURCE_GPU, share, sheet);
    if let Some(mib) = memory_mib(&gpus) {
        put(RESOURCE_GPU, SUFFIX_MEMORY, LabelValue::number(mib), sheet);
    }
    let capability = gpus.iter().find_map(|gpu| gpu.compute_capability.value());
    if let Some((major, minor)) = capability.filter(|(major, _)| *major > 0) {
        put(RESOURCE_GPU, SUFFIX_FAMILY, LabelValue::text(&family(*major, *minor)), sheet);
        put(RESOURCE_GPU, SUFFIX_COMPUTE_MAJOR, LabelValue::number(*major), sheet);
        put(RESOURCE_GPU, SUFFIX_COMPUTE_MINOR, LabelValue::number(*minor), sheet);
    }
}

/// One label of a resource.
pub(super) fn put(resource: &str, suffix: &str, value: LabelValue, sheet: &mut Sheet) {
    sheet.put(&format!("{resource}{suffix}"), value);
}

/// The product's label; none for a GPU that does not tell it.
pub(super) fn put_product(resource: &str, name: &str, kind: &str, share: Share, sheet: &mut Sheet) {
    if !(name.is_empty() && kind.is_empty()) {
        let value = LabelValue::with_suffix(name, &format!("{kind}{}", share.suffix()));
        put(resource, SUFFIX_PRODUCT, value, sheet);
    }
}

/// How a resource's devices are shared.
pub(super) fn put_share(resource: &str, share: Share, sheet: &mut Sheet) {
    put(resource, SUFFIX_REPLICAS, LabelValue::number(share.replicas), sheet);
    put(resource, SUFFIX_SHARING_STRATEGY, LabelValue::text(share.strategy()), sheet);
}

/// So many.
pub(super) fn count(number: usize) -> LabelValue {
    LabelValue::number(u64::try_from(number).unwrap_or(u64::MAX))
}

/// Memory of the first that tells it; one that has none of its own tells nothing.
pub(super) fn memory_mib(gpus: &[&Gpu]) -> Option<u64> {
    gpus.iter().filter_map(|gpu| gpu.memory_bytes.value()).map(|bytes| bytes / MIB).find(|mib| *mib > 0)
}

fn tell_models(node: &Node<'_>, primary: &str, sheet: &mut Sheet) {
    let models = models(&node.gpus, |gpu| gpu);
    if models.len() > 1 {
        let list: Vec<String> =
            models.iter().map(|model| format!("{} x {:?}", model.parts.len(), model.name)).collect();
        sheet.remark(format!(
            "GPUs are of several models, {}: the labels nvidia.com/gpu.* describe {primary:?}",
            list.join(", ")
        ));
    }
}

/// Architectures by compute capability: from this one on, within its major number. NVIDIA's CUDA programming guide; 11.0 is
/// Thor's, and 13.0 is named in the feature discovery of k8s-device-plugin 0.20.
const FAMILIES: [(u32, u32, &str); 14] = [
    (1, 0, "tesla"),
    (2, 0, "fermi"),
    (3, 0, "kepler"),
    (5, 0, "maxwell"),
    (6, 0, "pascal"),
    (7, 0, "volta"),
    (7, 5, "turing"),
    (8, 0, "ampere"),
    (8, 9, "ada-lovelace"),
    (9, 0, "hopper"),
    (10, 0, "blackwell"),
    (11, 0, "blackwell"),
    (12, 0, "blackwell"),
    (13, 0, "rubin"),
];

/// The architecture's name; of one that has none here, its compute capability.
fn family(major: u32, minor: u32) -> String {
    let known = FAMILIES.iter().rev().find(|(of, from, _)| *of == major && *from <= minor);
    known.map_or_else(|| format!("cc-{major}.{minor}"), |(_, _, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn family_changes_within_a_major_number_and_an_unknown_one_is_its_number() {
        for (major, minor, name) in [
            (7, 2, "volta"),
            (7, 5, "turing"),
            (8, 8, "ampere"),
            (8, 9, "ada-lovelace"),
            (11, 0, "blackwell"),
            (12, 1, "blackwell"),
            (4, 0, "cc-4.0"),
            (14, 3, "cc-14.3"),
        ] {
            assert_eq!(family(major, minor), name);
        }
    }
}
