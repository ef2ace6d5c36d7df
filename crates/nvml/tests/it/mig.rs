//! The parts into which GPUs are cut, and that a change of them is seen.

use gpu_model::{Gpu, MigAttributes, MigDevice, MigFailure, MigMode, Reading};
use nvml_sim::Effect;

use crate::node::{Node, block_on};

crate::tests![
    mig_devices_are_told_with_their_places_and_profiles,
    engines_of_a_gpu_instance_are_in_its_profile,
    attributes_of_a_mig_device_are_its_own_multiprocessors_and_its_instances_engines,
    mig_device_that_cannot_be_read_stands_beside_the_others,
    parts_that_cannot_be_counted_are_one_failure_of_their_gpu,
    change_of_the_partitioning_is_seen_by_a_probe,
    gpu_without_mig_is_asked_nothing_about_parts,
];

/// A node with one GPU of a model, with GPU instances on it.
fn node(model: &str, instances: &str) -> Node {
    let yaml = format!(
        "seed: mig\ndriver: {{version: 580.95.05, cuda: \"13.0\"}}\ngpus:\n  - {{model: {model}, pci: \"0000:07:00.0\", numa: 0, pcie: 0/0/0/0, mig-instances: [{instances}]}}\n"
    );
    Node::from_yaml(&yaml)
}

fn gpu(node: &Node) -> Gpu {
    let seen = block_on(node.nvml().inventory()).unwrap();
    assert!(seen.failures.is_empty(), "{seen:?}");
    seen.gpus.into_iter().next().unwrap()
}

/// Index, profile, GPU instance, compute instance.
fn places(devices: &[MigDevice]) -> Vec<(u32, String, u32, u32)> {
    let place = |device: &MigDevice| {
        (device.index, device.profile.to_string(), device.gpu_instance, device.compute_instance)
    };
    devices.iter().map(place).collect()
}

fn mig_devices_are_told_with_their_places_and_profiles() {
    // A GPU instance that is split, one that is whole, and a gap where a third one was.
    for model in ["A100-SXM4-80GB", "H100-SXM5-80GB"] {
        let node = node(model, "1g.10gb@0, 3g.40gb@4, 2g.20gb@2");
        let split = |mig: &mut nvml_sim::MigState, gpu: &nvml_sim::Gpu| {
            mig.destroy_compute(gpu, 2, 0)?;
            mig.create_compute(gpu, 2, 1, None)?;
            mig.create_compute(gpu, 2, 0, None)?;
            mig.destroy_compute(gpu, 7, 0)
        };
        node.state.change_mig("0", split).unwrap();
        let gpu = gpu(&node);
        assert_eq!(gpu.mig_mode, Reading::Value(MigMode { current: true, pending: true }));
        assert!(gpu.mig_failures.is_empty(), "{gpu:?}");
        let expected = [(1, "2c.3g.40gb", 2, 0), (2, "2g.20gb", 4, 0), (3, "1c.3g.40gb", 2, 1)];
        let expected = expected.map(|(index, profile, gi, ci)| (index, profile.to_owned(), gi, ci));
        assert_eq!(places(&gpu.mig_devices), expected, "{model}");
    }
}

fn engines_of_a_gpu_instance_are_in_its_profile() {
    for expected in [["1g.24gb+me.all", "1g.24gb-me"], ["1g.24gb+me", "1g.24gb+gfx"]] {
        let node = node("RTX-PRO-6000-Blackwell", &format!("\"{}\"", expected.join("\", \"")));
        let profiles: Vec<_> =
            gpu(&node).mig_devices.iter().map(|device| device.profile.to_string()).collect();
        assert_eq!(profiles, expected);
    }
}

fn attributes_of_a_mig_device_are_its_own_multiprocessors_and_its_instances_engines() {
    let node = node("H100-SXM5-80GB", "1g.10gb+me@6, 3g.40gb@0/2c/1c");
    let table = node.state.node().unwrap().gpus[0].model.mig.clone();
    let gpu = gpu(&node);
    assert!(gpu.mig_failures.is_empty(), "{gpu:?}");
    for (profile, multiprocessors) in [("1g.10gb+me", 16), ("2c.3g.40gb", 32), ("1c.3g.40gb", 16)] {
        let device = gpu.mig_devices.iter().find(|device| device.profile.to_string() == profile).unwrap();
        let instance = profile.split_once("c.").map_or(profile, |(_, instance)| instance);
        let instance = table.gpu_instances.iter().find(|kind| kind.name == instance).unwrap();
        let engines = &instance.engines;
        let expected = MigAttributes {
            multiprocessors,
            copy_engines: engines.copy,
            decoders: engines.decode,
            encoders: engines.encode,
            jpeg_engines: engines.jpeg,
            ofa_engines: engines.ofa,
        };
        assert_eq!(device.attributes, expected, "{profile}");
        assert!(engines.copy > 0 && engines.decode > 0, "{profile}");
    }
}

fn mig_device_that_cannot_be_read_stands_beside_the_others() {
    let node = node("A100-SXM4-80GB", "1g.10gb, 1g.10gb, 1g.10gb");
    node.fault("nvmlDeviceGetAttributes_v2", Effect::Return(999), Some(1));
    let gpu = gpu(&node);
    assert_eq!(gpu.mig_devices.iter().map(|device| device.index).collect::<Vec<_>>(), [1, 2]);
    let call = "nvmlDeviceGetAttributes_v2".to_owned();
    assert_eq!(gpu.mig_failures, [MigFailure { index: Some(0), call, code: 999 }]);
}

fn parts_that_cannot_be_counted_are_one_failure_of_their_gpu() {
    let node = node("A100-SXM4-80GB", "1g.10gb");
    node.fault("nvmlDeviceGetMaxMigDeviceCount", Effect::Return(999), None);
    let gpu = gpu(&node);
    assert_eq!(gpu.mig_devices, []);
    let call = "nvmlDeviceGetMaxMigDeviceCount".to_owned();
    assert_eq!(gpu.mig_failures, [MigFailure { index: None, call, code: 999 }]);
}

fn change_of_the_partitioning_is_seen_by_a_probe() {
    let node = node("H100-SXM5-80GB", "3g.40gb@0, 1g.10gb@4");
    let nvml = node.nvml();
    let is_repartitioned = || {
        let gpu = block_on(nvml.inventory()).unwrap().gpus.remove(0);
        move || block_on(nvml.probe()).unwrap().iter().any(|probe| probe.is_repartitioned(&gpu))
    };
    let changed = is_repartitioned();
    assert!(!changed());
    // The same id and UUID, and another size.
    let shrink = |mig: &mut nvml_sim::MigState, gpu: &nvml_sim::Gpu| {
        mig.destroy_compute(gpu, 1, 0)?;
        mig.create_compute(gpu, 1, 0, None)
    };
    node.state.change_mig("0", shrink).unwrap();
    assert!(changed());
}

fn gpu_without_mig_is_asked_nothing_about_parts() {
    let node = Node::of("dgx-h100");
    node.fault("nvmlDeviceGetMaxMigDeviceCount", Effect::Return(999), None);
    let seen = block_on(node.nvml().inventory()).unwrap();
    assert!(
        seen.gpus.iter().all(|gpu| gpu.mig_devices.is_empty() && gpu.mig_failures.is_empty()),
        "{seen:?}"
    );
}
