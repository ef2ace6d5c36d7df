//! Single labels where a rule decides, each with what else it could have been.

use gpu_config::MigStrategy;
use gpu_feature_discovery::facts::{Facts, Settings};
use gpu_feature_discovery::labels::{Labelled, label};
use gpu_model::{Gpu, MigFailure, Reading};
use node_host::vgpu::VgpuError;

use crate::nodes::{A100, H100, Model, T4, cut, gpu, joined, node, settings};

fn value<'a>(labelled: &'a Labelled, key: &str) -> Option<&'a str> {
    labelled.labels.get(key).map(|value| value.as_str())
}

fn unreadable(index: u32) -> Gpu {
    let failure = MigFailure { index: None, call: "nvmlDeviceGetMaxMigDeviceCount".to_owned(), code: 999 };
    Gpu { mig_failures: vec![failure], ..cut(index, H100, &[]) }
}

#[test]
fn single_strategy_is_spoilt_by_an_uneven_node_and_not_by_a_gpu_that_cannot_be_read() {
    let even = || cut(0, H100, &["1g.10gb"; 7]);
    let mode_unread = Gpu { mig_mode: Reading::Failed { call: String::new(), code: 999 }, ..gpu(1, H100) };
    for (gpus, product, reason) in [
        (vec![even(), unreadable(1)], "NVIDIA-H100-80GB-HBM3-MIG-1g.10gb", None),
        (vec![even(), mode_unread], "NVIDIA-H100-80GB-HBM3-MIG-1g.10gb", None),
        (vec![gpu(0, H100), gpu(1, H100)], "NVIDIA-H100-80GB-HBM3", None),
        (vec![even(), cut(1, H100, &[])], "NVIDIA-H100-80GB-HBM3-MIG-INVALID", Some("has no MIG device")),
        (vec![even(), gpu(1, H100)], "NVIDIA-H100-80GB-HBM3-MIG-INVALID", Some("for some GPUs only")),
        (vec![unreadable(0)], "NVIDIA-H100-80GB-HBM3-MIG-INVALID", Some("no MIG device can be read")),
    ] {
        let labelled = label(&node(gpus), &settings(MigStrategy::Single, ""));
        assert_eq!(value(&labelled, "nvidia.com/gpu.product"), Some(product));
        let said = labelled.remarks.join("\n");
        assert!(reason.map_or(said.is_empty(), |reason| said.contains(reason)), "{reason:?}: {said}");
    }
}

#[test]
fn sharing_of_some_devices_is_told_if_most_are_shared_so() {
    for (devices, replicas, product) in [
        ("all", "4", "Tesla-T4-SHARED"),
        ("2", "4", "Tesla-T4-SHARED"),
        ("1", "1", "Tesla-T4"),
        ("[2, 0]", "4", "Tesla-T4-SHARED"),
    ] {
        let file = format!(
            "sharing: {{timeSlicing: {{resources: [{{name: nvidia.com/gpu, replicas: 4, devices: {devices}}}]}}}}"
        );
        let facts = node((0..3).map(|index| gpu(index, T4)).collect());
        let labelled = label(&facts, &settings(MigStrategy::None, &file));
        assert_eq!(value(&labelled, "nvidia.com/gpu.replicas"), Some(replicas), "{devices}");
        assert_eq!(value(&labelled, "nvidia.com/gpu.product"), Some(product), "{devices}");
    }
}

#[test]
fn gpu_that_nobody_is_offered_has_no_part_in_any_label() {
    const DISPLAY: Model = ("NVIDIA DGX Display", 4096, (7, 5));
    let facts = node(vec![gpu(0, DISPLAY), gpu(1, T4), gpu(2, T4), gpu(3, A100)]);
    let labelled = label(&facts, &settings(MigStrategy::None, "devices: {exclude: ['Tesla*']}"));
    assert_eq!(value(&labelled, "nvidia.com/gpu.count"), Some("1"));
    assert_eq!(value(&labelled, "nvidia.com/gpu.product"), Some("NVIDIA-A100-SXM4-80GB"));
    assert!(
        labelled.labels.keys().all(|key| !key.as_str().contains("t4") && !key.as_str().contains("display"))
    );
    let none = label(&node(vec![gpu(0, DISPLAY)]), &Settings::default());
    assert!(none.labels.keys().all(|key| !key.as_str().contains("cuda")), "{none:?}");
}

#[test]
fn whole_gpus_are_described_before_partitioned_ones_whatever_most_are() {
    let facts = node(vec![cut(0, A100, &["1g.10gb"]), cut(1, A100, &["1g.10gb"]), gpu(2, T4)]);
    let mixed = label(&facts, &settings(MigStrategy::Mixed, ""));
    assert_eq!(value(&mixed, "nvidia.com/gpu.product"), Some("Tesla-T4"));
    assert_eq!(value(&mixed, "nvidia.com/gpu.replicas"), Some("1"));
    assert_eq!(value(&mixed, "nvidia.com/gpu.count"), Some("3"));
    let all_cut = label(&node(vec![cut(0, A100, &["1g.10gb"])]), &settings(MigStrategy::Mixed, ""));
    assert_eq!(value(&all_cut, "nvidia.com/gpu.replicas"), Some("0"));
}

#[test]
fn mig_devices_of_one_profile_on_two_models_are_one_set_of_the_model_with_most() {
    let mut facts = node(vec![cut(0, H100, &["1g.10gb"]), cut(1, A100, &["1g.10gb"; 2])]);
    for mig in &mut facts.driver.as_mut().unwrap().inventory.gpus[1].mig_devices {
        mig.attributes.multiprocessors = 14;
    }
    let labelled = label(&facts, &settings(MigStrategy::Mixed, ""));
    assert_eq!(value(&labelled, "nvidia.com/mig-1g.10gb.count"), Some("3"));
    let product = value(&labelled, "nvidia.com/mig-1g.10gb.product");
    assert_eq!(product, Some("NVIDIA-A100-SXM4-80GB-MIG-1g.10gb"));
    assert_eq!(value(&labelled, "nvidia.com/mig-1g.10gb.multiprocessors"), Some("14"));
    let product = value(&labelled, "nvidia.com/gpu.product");
    assert_eq!(product, Some("NVIDIA-H100-80GB-HBM3"), "of two, the first");
}

#[test]
fn virtual_gpu_is_present_if_it_says_so_and_unknown_if_it_cannot_be_read() {
    let unread = VgpuError::Short { bytes: 64 };
    let silent = VgpuError::NoHostDriver { at: 0x40, problem: "there is no record of it" };
    for (vgpu, present) in [(Ok(None), Some("false")), (Err(unread), None), (Err(silent), Some("true"))] {
        let mut facts = node(vec![gpu(0, T4)]);
        facts.pci.as_mut().unwrap()[0].vgpu = vgpu;
        assert_eq!(value(&label(&facts, &Settings::default()), "nvidia.com/vgpu.present"), present);
    }
}

#[test]
fn clique_and_mode_are_told_where_all_gpus_agree() {
    let with = |cliques: [Reading<_>; 2], classes: [u32; 2]| -> Facts {
        let mut facts = node(vec![gpu(0, H100), gpu(1, H100)]);
        let details = &mut facts.driver.as_mut().unwrap().details.gpus;
        details.iter_mut().zip(cliques).for_each(|(gpu, fabric)| gpu.fabric = fabric);
        let functions = facts.pci.as_mut().unwrap();
        functions.iter_mut().zip(classes).for_each(|(function, class)| function.class = class);
        facts
    };
    for (cliques, classes, clique, mode) in [
        ([joined(1), Reading::NotSupported], [0x03_0000; 2], true, "graphics"),
        ([joined(1), joined(2)], [0x03_0000, 0x03_0200], false, "unknown"),
        ([joined(1), joined(1)], [0x03_0200; 2], true, "compute"),
    ] {
        let labelled = label(&with(cliques, classes), &Settings::default());
        assert_eq!(value(&labelled, "nvidia.com/gpu.clique").is_some(), clique);
        assert_eq!(value(&labelled, "nvidia.com/gpu.mode"), Some(mode));
    }
}

#[test]
fn presence_is_the_buss_and_where_that_is_unread_the_drivers_and_nfds() {
    let on_bus = node(vec![gpu(0, T4)]).pci;
    let driver = node(vec![gpu(0, T4)]).driver;
    for (pci, driver, nfd, present) in [
        (on_bus, None, None, true),
        // What is on a bus that can be read is known better.
        (Some(Vec::new()), None, Some(true), false),
        (None, driver, Some(false), true),
        (None, None, Some(true), true),
        (None, None, Some(false), false),
        (None, None, None, false),
    ] {
        let labelled = label(&Facts { pci, driver, nfd, ..Facts::default() }, &Settings::default());
        assert_eq!(value(&labelled, "nvidia.com/gpu.present"), present.then_some("true"));
    }
}

#[test]
fn driver_version_gives_the_parts_that_it_has() {
    for (version, major, minor, revision) in [
        ("580.95.05", Some("580"), Some("95"), Some("05")),
        ("580.95", Some("580"), Some("95"), Some("")),
        ("580", Some("580"), None, None),
        ("580.", Some("580"), None, None),
        ("580.95.05.01", Some("580"), Some("95"), Some("05.01")),
        ("unknown.unknown", None, None, None),
        ("", None, None, None),
    ] {
        let mut facts = node(vec![gpu(0, T4)]);
        facts.driver.as_mut().unwrap().inventory.driver.driver = version.to_owned();
        let labelled = label(&facts, &Settings::default());
        let part = |part: &str| value(&labelled, &format!("nvidia.com/cuda.driver-version.{part}"));
        assert_eq!((part("major"), part("minor"), part("revision")), (major, minor, revision), "{version:?}");
        assert_eq!(value(&labelled, "nvidia.com/cuda.driver.rev"), revision, "{version:?}");
        assert_eq!(part("full").is_some(), !version.is_empty(), "{version:?}");
    }
}
