//! Labels of MIG devices: those of each profile under the strategy `mixed`, and under `single` those of the one profile in
//! the place of the GPUs', or what tells that the node is uneven.

use std::collections::BTreeMap;

use gpu_config::MigStrategy;
use gpu_model::names::{
    LABEL_MIG_CAPABLE, LABEL_MIG_STRATEGY, NVIDIA_DOMAIN, RESOURCE_GPU, SUFFIX_COUNT, SUFFIX_ENGINES_COPY,
    SUFFIX_ENGINES_DECODER, SUFFIX_ENGINES_ENCODER, SUFFIX_ENGINES_JPEG, SUFFIX_ENGINES_OFA, SUFFIX_MEMORY,
    SUFFIX_MULTIPROCESSORS, SUFFIX_REPLICAS, SUFFIX_SHARING_STRATEGY, SUFFIX_SLICES_CI, SUFFIX_SLICES_GI,
};
use gpu_model::{Gpu, MigProfile, Reading};

use super::node::{Node, Slice, primary};
use super::sharing::{Share, Shares};
use super::sheet::{LabelValue, Sheet};
use super::whole::{count, put, put_product, put_share};

/// Bytes in a MiB.
const MIB: u64 = 1 << 20;

pub(super) fn label(node: &Node<'_>, strategy: MigStrategy, shares: &Shares<'_>, sheet: &mut Sheet) {
    let is_capable = |gpu: &&Gpu| gpu.mig_mode.value().is_some();
    sheet.put(LABEL_MIG_CAPABLE, LabelValue::flag(node.gpus.iter().any(is_capable)));
    match strategy {
        MigStrategy::None => {}
        MigStrategy::Single => {
            sheet.put(LABEL_MIG_STRATEGY, LabelValue::text("single"));
            single(node, shares, sheet);
        }
        MigStrategy::Mixed => {
            sheet.put(LABEL_MIG_STRATEGY, LabelValue::text("mixed"));
            for (profile, slices) in by_profile(&node.slices()) {
                set(&format!("{NVIDIA_DOMAIN}/{}", profile.resource()), profile, &slices, shares, sheet);
            }
        }
    }
}

fn by_profile<'a>(slices: &[Slice<'a>]) -> BTreeMap<MigProfile, Vec<Slice<'a>>> {
    let mut profiles: BTreeMap<MigProfile, Vec<Slice<'a>>> = BTreeMap::new();
    for slice in slices {
        profiles.entry(slice.1.profile).or_default().push(*slice);
    }
    profiles
}

fn single(node: &Node<'_>, shares: &Shares<'_>, sheet: &mut Sheet) {
    let partitioned = node.partitioned();
    if partitioned.is_empty() {
        return;
    }
    // A GPU whose devices cannot be read is not empty: it is left out.
    let is_empty = |gpu: &&Gpu| gpu.mig_devices.is_empty() && gpu.mig_failures.is_empty();
    // One that does not say whether MIG is on spoils nothing either.
    let is_off = |gpu: &&Gpu| !matches!(gpu.mig_mode, Reading::Failed { .. });
    let profiles = by_profile(&node.slices());
    let mut only = profiles.iter();
    let reason = match (only.next(), only.next()) {
        _ if partitioned.iter().any(is_empty) => "a GPU with MIG on has no MIG device",
        _ if node.whole().iter().any(is_off) => "MIG is on for some GPUs only",
        (None, _) => "no MIG device can be read",
        (Some((profile, slices)), None) => return set(RESOURCE_GPU, *profile, slices, shares, sheet),
        (Some(_), Some(_)) => "there are MIG devices of several profiles",
    };
    sheet.remark(format!("the MIG strategy single fits no such node: {reason}"));
    let (name, _) = primary(&partitioned, |gpu| gpu);
    put_product(RESOURCE_GPU, name, "-MIG-INVALID", Share::PARTITIONED, sheet);
    for suffix in [SUFFIX_COUNT, SUFFIX_REPLICAS, SUFFIX_MEMORY] {
        put(RESOURCE_GPU, suffix, LabelValue::number(0u32), sheet);
    }
    put(RESOURCE_GPU, SUFFIX_SHARING_STRATEGY, LabelValue::default(), sheet);
}

/// The labels of MIG devices of one profile; where their GPUs are of several models, those of the primary one.
fn set(resource: &str, profile: MigProfile, slices: &[Slice<'_>], shares: &Shares<'_>, sheet: &mut Sheet) {
    let (name, own) = primary(slices, |(gpu, _)| gpu);
    let share = shares.of_slices(slices);
    let kind = format!("-MIG-{profile}").replace('+', ".");
    put_product(resource, name, &kind, share, sheet);
    put(resource, SUFFIX_COUNT, count(slices.len()), sheet);
    put_share(resource, share, sheet);
    let memory = own.iter().find_map(|(_, mig)| match mig.memory_bytes {
        Reading::Value(bytes) if bytes >= MIB => Some(bytes / MIB),
        _ => None,
    });
    if let Some(mib) = memory {
        put(resource, SUFFIX_MEMORY, LabelValue::number(mib), sheet);
    }
    let Some((_, first)) = own.first() else { return };
    let has = first.attributes;
    for (suffix, number) in [
        (SUFFIX_MULTIPROCESSORS, has.multiprocessors),
        (SUFFIX_SLICES_GI, profile.gpu_slices()),
        (SUFFIX_SLICES_CI, profile.compute_slices()),
        (SUFFIX_ENGINES_COPY, has.copy_engines),
        (SUFFIX_ENGINES_DECODER, has.decoders),
        (SUFFIX_ENGINES_ENCODER, has.encoders),
        (SUFFIX_ENGINES_JPEG, has.jpeg_engines),
        (SUFFIX_ENGINES_OFA, has.ofa_engines),
    ] {
        put(resource, suffix, LabelValue::number(number), sheet);
    }
}
