//! The spec of whole GPUs, as documents and as rules.

use std::collections::BTreeSet;
use std::path::Path;

use cdi::builder::{ALL, BuildError};
use cdi::{Spec, Version};
use gpu_model::Reading;
use node_host::device::{NodeKind, Nodes};
use proptest::prelude::*;

use crate::fixture::{dgx_a100, driver, full_gpus, nodes};

pub fn assert_golden(name: &str, spec: &Spec) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    golden::assert_golden(&path, &spec.to_json().unwrap());
}

fn host_driver() -> Spec {
    full_gpus(&dgx_a100(), &driver(""), &nodes("/dev")).unwrap().spec
}

#[test]
fn spec_of_a_dgx_with_the_driver_on_the_host_is_the_golden_document() {
    assert_golden("dgx-a100-host-driver.json", &host_driver());
}

#[test]
fn spec_of_a_dgx_with_a_driver_container_is_the_golden_document() {
    let root = "/run/nvidia/driver";
    let built = full_gpus(&dgx_a100(), &driver(root), &nodes(&format!("{root}/dev"))).unwrap();
    assert_golden("dgx-a100-driver-container.json", &built.spec);
}

#[test]
fn spec_reads_back_the_same() {
    let spec = host_driver();
    assert_eq!(Spec::parse(spec.to_json().unwrap().as_bytes()).unwrap(), spec);
}

#[test]
fn spec_states_the_lowest_version_that_suffices() {
    assert_eq!(host_driver().cdi_version, Version::V0_3_0);
    let elsewhere = full_gpus(&dgx_a100(), &driver(""), &nodes("/run/nvidia/driver/dev")).unwrap().spec;
    assert_eq!(elsewhere.cdi_version, Version::V0_5_0);
}

#[test]
fn each_device_has_exactly_its_own_node_and_all_has_every_one() {
    let spec = host_driver();
    let inventory = dgx_a100();
    assert_eq!(spec.devices.len(), inventory.gpus.len() + 1);
    for gpu in &inventory.gpus {
        let device = spec.devices.iter().find(|device| device.name == gpu.uuid.as_str()).unwrap();
        let paths: Vec<_> =
            device.container_edits.device_nodes.iter().map(|node| node.path.clone()).collect();
        assert_eq!(paths, [format!("/dev/nvidia{}", gpu.index)]);
    }
    let all = spec.devices.iter().find(|device| device.name == ALL).unwrap();
    let paths: Vec<_> = all.container_edits.device_nodes.iter().map(|node| node.path.clone()).collect();
    assert_eq!(paths, (0..8).map(|minor| format!("/dev/nvidia{minor}")).collect::<Vec<_>>());
}

#[test]
fn libraries_stand_under_every_name_in_both_search_paths() {
    let targets: BTreeSet<_> =
        host_driver().container_edits.mounts.into_iter().map(|mount| mount.container_path).collect();
    for folder in ["/usr/lib/x86_64-linux-gnu", "/usr/lib64"] {
        for name in ["libcuda.so", "libcuda.so.1", "libcuda.so.580.95.05", "vdpau/libvdpau_nvidia.so.1"] {
            assert!(targets.contains(&format!("{folder}/{name}")), "{folder}/{name}");
        }
    }
    assert!(targets.contains("/usr/bin/nvidia-smi"));
}

#[test]
fn gpu_without_a_node_is_left_out_and_the_others_stay() {
    let mut inventory = dgx_a100();
    inventory.gpus[1].minor = Reading::Failed { call: "nvmlDeviceGetMinorNumber".to_owned(), code: 15 };
    let mut nodes = nodes("/dev");
    nodes.usable.retain(|node| node.name != "nvidia5");
    let built = full_gpus(&inventory, &driver(""), &nodes).unwrap();
    assert_eq!(built.spec.devices.len(), 6 + 1);
    let why: Vec<_> = built.left_out.into_values().collect();
    assert_eq!(why, ["the driver does not tell its minor number", "/dev/nvidia5 does not exist"]);
}

#[test]
fn gpu_whose_node_is_unusable_is_left_out_with_the_reason() {
    let mut nodes = nodes("/dev");
    nodes.usable.retain(|node| !["nvidia2", "nvidia6"].contains(&node.name.as_str()));
    let reasons = [
        "/dev/nvidia2 is no character device",
        "cannot look at the device node /dev/nvidia6: too many links",
    ];
    nodes.unusable =
        ["nvidia2", "nvidia6"].map(str::to_owned).into_iter().zip(reasons.map(str::to_owned)).collect();
    let built = full_gpus(&dgx_a100(), &driver(""), &nodes).unwrap();
    assert_eq!(built.spec.devices.len(), 6 + 1);
    let why: Vec<_> = built.left_out.into_values().collect();
    assert_eq!(why, reasons);
}

#[test]
fn node_without_any_gpu_has_no_spec() {
    let error = full_gpus(&dgx_a100(), &driver(""), &Nodes::default()).unwrap_err();
    assert!(matches!(&error, BuildError::NoGpu { left_out } if left_out.len() == 8), "{error}");
    let mut empty = dgx_a100();
    empty.gpus.clear();
    let error = full_gpus(&empty, &driver(""), &nodes("/dev")).unwrap_err();
    assert_eq!(error.to_string(), "no GPU has a usable device node: the inventory is empty");
}

#[test]
fn node_that_is_closed_to_others_brings_its_group() {
    let mut nodes = nodes("/dev");
    for node in &mut nodes.usable {
        (node.mode, node.gid) = (0o660, 44);
    }
    let spec = full_gpus(&dgx_a100(), &driver(""), &nodes).unwrap().spec;
    assert_eq!(spec.container_edits.additional_gids, [44]);
    assert_eq!(spec.devices[0].container_edits.device_nodes[0].gid, Some(44));
    assert_eq!(spec.cdi_version, Version::V0_7_0);
}

#[test]
fn node_that_is_no_device_states_no_numbers() {
    let mut nodes = nodes("/dev");
    nodes.usable.iter_mut().for_each(|node| node.kind = NodeKind::Other);
    let spec = full_gpus(&dgx_a100(), &driver(""), &nodes).unwrap().spec;
    let node = &spec.devices[0].container_edits.device_nodes[0];
    assert_eq!((node.major, node.minor), (None, None));
}

proptest! {
    #[test]
    fn spec_does_not_depend_on_the_order_of_findings(seed in any::<u64>()) {
        let (mut inventory, mut driver, mut nodes) = (dgx_a100(), driver("/run/nvidia/driver"), nodes("/dev"));
        let expected = full_gpus(&inventory, &driver, &nodes).unwrap();
        let turn = |length: usize| usize::try_from(seed % 7).unwrap() % length;
        inventory.gpus.rotate_left(turn(8));
        nodes.usable.rotate_right(turn(12));
        nodes.usable.reverse();
        driver.libraries.rotate_left(turn(4));
        driver.binaries.reverse();
        prop_assert_eq!(full_gpus(&inventory, &driver, &nodes).unwrap(), expected);
    }

    #[test]
    fn spec_mounts_nothing_twice_and_no_node_twice_for_one_device(closed: bool, shown in 1usize..8) {
        let mut inventory = dgx_a100();
        inventory.gpus.truncate(shown);
        let mut nodes = nodes("/dev");
        nodes.usable.iter_mut().for_each(|node| if closed { (node.mode, node.gid) = (0o660, 44) });
        let spec = full_gpus(&inventory, &driver(""), &nodes).unwrap().spec;
        let mounts: BTreeSet<_> = spec.container_edits.mounts.iter().map(|mount| &mount.container_path).collect();
        prop_assert_eq!(mounts.len(), spec.container_edits.mounts.len());
        for device in &spec.devices {
            let nodes = spec.container_edits.device_nodes.iter().chain(&device.container_edits.device_nodes);
            let paths: Vec<_> = nodes.map(|node| &node.path).collect();
            prop_assert_eq!(paths.iter().collect::<BTreeSet<_>>().len(), paths.len());
        }
        prop_assert_eq!(Spec::parse(spec.to_json().unwrap().as_bytes()).unwrap(), spec);
    }
}
