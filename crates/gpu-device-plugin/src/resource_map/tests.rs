//! Nodes and configs, and what follows from them.

use std::collections::BTreeSet;

use gpu_config::{Mode, read};
use gpu_model::{MigMode, Reading};
use proptest::prelude::*;

use super::*;
use crate::offering::OfferingFlags;
use crate::state::tests::bare_gpu;

/// A whole A100 at this index.
fn a100(index: u32) -> Gpu {
    Gpu {
        product: Reading::Value("NVIDIA A100-SXM4-40GB".to_owned()),
        pci: format!("0000:0{index:x}:00.0").parse().map_or(Reading::NotSupported, Reading::Value),
        memory_bytes: Reading::Value(40 << 30),
        compute_capability: Reading::Value((8, 0)),
        numa_node: Reading::Value(index / 4),
        mig_mode: Reading::Value(MigMode { current: false, pending: false }),
        ..bare_gpu(index)
    }
}

/// The same with MIG on, and these MIG devices.
fn partitioned(index: u32, profiles: &[&str]) -> Gpu {
    let device = |(at, profile): (usize, &&str)| MigDevice {
        uuid: format!("MIG-00000000-0000-0000-0000-00000000{index:02x}{at:02x}").parse().unwrap(),
        index: at as u32,
        gpu_instance: at as u32 + 1,
        compute_instance: 0,
        profile: profile.parse().unwrap(),
        memory_bytes: Reading::NotSupported,
        attributes: gpu_model::MigAttributes::default(),
    };
    Gpu {
        mig_mode: Reading::Value(MigMode { current: true, pending: true }),
        mig_devices: profiles.iter().enumerate().map(device).collect(),
        ..a100(index)
    }
}

fn offering(text: &str) -> Offering {
    let config = read("test", &format!("version: v1\n{text}"), Mode::Strict).unwrap().config;
    Offering::new(&OfferingFlags::default(), Some(&config)).unwrap()
}

/// What is offered, as `resource: index[xshares] …`.
fn shown(text: &str, gpus: &[Gpu]) -> Vec<String> {
    let show = |device: &Offered| {
        let gpu = device.gpu.as_ref().map_or("all".to_owned(), |gpu| gpu.index.to_string());
        let mig = device.mig.map_or(String::new(), |mig| format!(":{}", mig.index));
        gpu + &mig + &device.shares.map_or(String::new(), |shares| format!("x{shares}"))
    };
    let line = |(resource, devices): (&ResourceName, &Vec<Offered>)| {
        format!("{resource}: {}", devices.iter().map(show).collect::<Vec<_>>().join(" "))
    };
    resource_map(&offering(text), gpus).resources.iter().map(line).collect()
}

fn remarks(text: &str, gpus: &[Gpu]) -> String {
    resource_map(&offering(text), gpus).remarks.join("\n")
}

const MIXED: &str = "flags: {migStrategy: mixed}";
const SINGLE: &str = "flags: {migStrategy: single}";

#[test]
fn without_a_strategy_each_gpu_is_whole_and_one_with_mig_on_is_told() {
    let gpus = [a100(0), partitioned(1, &["1g.5gb"])];
    assert_eq!(shown("", &gpus), ["nvidia.com/gpu: 0 1"]);
    assert!(remarks("", &gpus).contains("GPU 1") && remarks("", &gpus[..1]).is_empty());
}

#[test]
fn mixed_names_each_profile_and_serves_the_parts_of_a_split_instance() {
    let gpus = [a100(0), partitioned(1, &["1g.5gb+me", "3g.20gb", "1c.3g.20gb"]), partitioned(2, &[])];
    assert_eq!(
        shown(MIXED, &gpus),
        [
            "nvidia.com/gpu: 0",
            "nvidia.com/mig-1c.3g.20gb: 1:2",
            "nvidia.com/mig-1g.5gb.me: 1:0",
            "nvidia.com/mig-3g.20gb: 1:1"
        ]
    );
    assert!(remarks(MIXED, &gpus).contains("GPU 2"));
}

#[test]
fn single_offers_whole_gpus_or_the_profile_that_most_have_and_nothing_on_a_tie() {
    assert_eq!(shown(SINGLE, &[a100(0), a100(1)]), ["nvidia.com/gpu: 0 1"]);
    let uneven = [partitioned(0, &["1g.5gb", "1g.5gb", "2g.10gb"]), a100(1)];
    assert_eq!(shown(SINGLE, &uneven), ["nvidia.com/gpu: 0:0 0:1"]);
    let told = remarks(SINGLE, &uneven);
    assert!(told.contains("1 of 2g.10gb") && told.contains("GPU 1"), "{told}");
    let tie = [partitioned(0, &["1g.5gb", "2g.10gb"])];
    assert!(shown(SINGLE, &tie).is_empty());
    assert!(remarks(SINGLE, &tie).contains("1 of 1g.5gb, 1 of 2g.10gb"));
    // MIG is on and nothing is made yet: whole GPUs are about to be partitioned, and are not offered beside it.
    assert!(shown(SINGLE, &[partitioned(0, &[]), a100(1)]).is_empty());
}

#[test]
fn gpus_are_left_out_by_config_and_where_they_drive_a_display() {
    let display = Gpu { product: Reading::Value("NVIDIA DGX Display".to_owned()), ..a100(2) };
    let gpus = [a100(0), a100(1), display];
    assert_eq!(shown("", &gpus), ["nvidia.com/gpu: 0 1"]);
    assert_eq!(shown("devices: {exclude: [1]}", &gpus), ["nvidia.com/gpu: 0"]);
    assert_eq!(shown("devices: {include: [\"0000:01:00.0\", \"*Display\"]}", &gpus), ["nvidia.com/gpu: 1"]);
}

#[test]
fn rules_name_devices_by_product_memory_and_profile() {
    let big = Gpu { memory_bytes: Reading::Value(80 << 30), ..a100(1) };
    let text = "resources: {gpus: [{pattern: '*A100*', memory: {min: 60GiB}, name: gpu-large}], mig: [{pattern: '1g.*', name: gpu-slice}]}\nflags: {migStrategy: mixed}";
    let gpus = [a100(0), big, partitioned(2, &["1g.5gb", "2g.10gb"])];
    assert_eq!(
        shown(text, &gpus),
        [
            "nvidia.com/gpu: 0",
            "nvidia.com/gpu-large: 1",
            "nvidia.com/gpu-slice: 2:0",
            "nvidia.com/mig-2g.10gb: 2:1"
        ]
    );
}

#[test]
fn devices_of_one_resource_are_shared_differently_and_renamed() {
    let gpus = [a100(0), a100(1), a100(2)];
    let text = "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, devices: [0], replicas: 4}, {name: nvidia.com/gpu, devices: [2], rename: nvidia.com/gpu.dev, replicas: 10}]}}";
    assert_eq!(shown(text, &gpus), ["nvidia.com/gpu: 0x4 1", "nvidia.com/gpu.dev: 2x10"]);
    let renamed = "sharing: {timeSlicing: {renameByDefault: true, resources: [{name: nvidia.com/gpu, devices: 2, replicas: 2}]}}";
    assert_eq!(shown(renamed, &gpus), ["nvidia.com/gpu: 2", "nvidia.com/gpu.shared: 0x2 1x2"]);
    let mig = "flags: {migStrategy: mixed}\nsharing: {timeSlicing: {resources: [{name: nvidia.com/mig-1g.5gb, devices: ['0:1'], replicas: 3}]}}";
    assert_eq!(shown(mig, &[partitioned(0, &["1g.5gb", "1g.5gb"])]), ["nvidia.com/mig-1g.5gb: 0:0 0:1x3"]);
}

#[test]
fn management_is_of_all_gpus_whatever_is_said_of_each() {
    let text = "gpuManagement: 3\ndevices: {exclude: [0]}\nsharing: {timeSlicing: {renameByDefault: true, failRequestsGreaterThanOne: true, resources: [{name: nvidia.com/gpu, replicas: 2}]}}";
    let expected = ["gantry.dev/gpu-management: allx3", "nvidia.com/gpu.shared: 1x2"];
    assert_eq!(shown(text, &[a100(0), a100(1)]), expected);
    assert_eq!(shown("gpuManagement: 0", &[a100(0)]), ["nvidia.com/gpu: 0"]);
}

#[test]
fn sharing_that_meets_nothing_is_told() {
    let text = "sharing: {timeSlicing: {resources: [{name: nvidia.com/mig-1g.5gb, replicas: 3}]}}";
    assert!(remarks(text, &[a100(0)]).contains("nvidia.com/mig-1g.5gb meets no device"));
}

#[test]
fn more_ids_than_the_kubelet_takes_are_refused_with_the_arithmetic() {
    let text = |replicas: u32| {
        format!(
            "sharing: {{timeSlicing: {{resources: [{{name: nvidia.com/gpu, devices: [0, 1], replicas: {replicas}}}]}}}}"
        )
    };
    let check = |replicas| resource_map(&offering(&text(replicas)), &[a100(0), a100(1), a100(2)]).check();
    assert_eq!(check(8191), Ok(()));
    let error = check(8192).unwrap_err().to_string();
    assert!(
        error.contains("2 devices x 8192 replicas + 1 devices = 16385 ids") && error.contains("16384"),
        "{error}"
    );
}

prop_compose! {
    fn any_gpu(index: u32)(
        is_partitioned: bool,
        profiles in proptest::collection::vec(prop_oneof![Just("1g.5gb"), Just("2g.10gb"), Just("1c.3g.20gb"), Just("1g.5gb+me")], 0..4),
        product in prop_oneof!["NVIDIA A100", "DGX Display", ".*"],
        is_known: bool,
    ) -> Gpu {
        let gpu = if is_partitioned { partitioned(index, &profiles) } else { a100(index) };
        let product = if is_known { Reading::Value(product) } else { Reading::NotSupported };
        Gpu { product, ..gpu }
    }
}

proptest! {
    #[test]
    fn each_unit_is_offered_once_at_most_whatever_the_order_of_the_gpus(
        gpus in (any_gpu(0), any_gpu(1), any_gpu(2)),
        config in prop_oneof![Just(""), Just(MIXED), Just(SINGLE), Just("sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 2}]}}")],
    ) {
        let mut gpus = vec![gpus.0, gpus.1, gpus.2];
        let map = resource_map(&offering(config), &gpus);
        let units: Vec<&Unit> = map.resources.values().flatten().map(|device| &device.unit).collect();
        prop_assert_eq!(units.iter().collect::<BTreeSet<_>>().len(), units.len());
        prop_assert!(map.resources.values().all(|devices| !devices.is_empty()));
        // Never a GPU beside its parts.
        let whole: BTreeSet<&GpuUuid> = map.resources.values().flatten().filter(|device| device.mig.is_none()).filter_map(Offered::gpu).collect();
        prop_assert!(map.resources.values().flatten().all(|device| device.mig.is_none() || device.gpu().is_none_or(|gpu| !whole.contains(gpu))));
        gpus.reverse();
        prop_assert_eq!(resource_map(&offering(config), &gpus).resources, map.resources);
    }
}
