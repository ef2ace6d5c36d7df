//! What GPUs say of themselves beyond the inventory.

use std::path::Path;

use gpu_model::{Detail, DetailSet, Details, FabricState, GpuDetails, PcieLink, Reading, failure};
use nvml::Nvml;
use nvml_sim::Effect;

use crate::node::{Node, block_on};

crate::tests![
    inventory_and_fabric_of_eight_gpus_in_none_are_64_calls,
    inventory_and_fabric_of_eight_gpus_in_one_are_a_call_for_each_more,
    partitioned_gpu_speaks_of_its_fabric_for_itself_alone,
    place_in_a_larger_fabric_is_told_with_cluster_and_clique,
    gpu_that_has_not_joined_its_fabric_says_how_far_it_is,
    driver_of_the_first_ones_with_fabrics_is_asked_in_its_own_way,
    details_of_every_machine_are_those_of_its_models,
    what_is_not_wanted_is_not_asked,
    room_for_mig_is_what_the_driver_could_still_make,
    number_beyond_all_sense_is_a_failed_reading_and_no_lie,
    switch_that_is_neither_on_nor_off_is_a_failed_reading,
    state_of_a_fabric_that_is_none_is_a_failed_reading,
    confidential_computing_that_is_on_is_told,
    gpu_lost_after_the_inventory_fails_its_own_details,
    gpu_that_hangs_in_a_detail_is_left_out_there_and_listed_elsewhere,
    details_without_an_inventory_identify_the_gpus_themselves,
];

const ALL: [Detail; 8] = [
    Detail::Fabric,
    Detail::Ecc,
    Detail::NvLink,
    Detail::Pcie,
    Detail::Power,
    Detail::Gsp,
    Detail::MigRoom,
    Detail::ConfidentialCompute,
];

fn details(nvml: &Nvml, wanted: &[Detail]) -> Details {
    block_on(nvml.details(&wanted.iter().copied().collect::<DetailSet>())).unwrap()
}

/// Lines of the library's own log of calls, initialisation included.
fn calls_in(log: &Path) -> usize {
    let files = std::fs::read_dir(log).unwrap().map(|file| file.unwrap().path());
    files.map(|file| std::fs::read_to_string(file).unwrap().lines().count()).sum()
}

/// A client of a machine that has taken an inventory and asked for fabrics, with all calls that this took.
fn one_shot(preset: &str) -> (Details, usize) {
    let node = Node::of(preset);
    let log = node.state.dir().join("calls");
    let mut config = node.config();
    config.extra_env.push(("NVML_SIM_CALL_LOG".into(), log.clone().into()));
    let nvml = node.nvml_with(config);
    let seen = block_on(nvml.inventory()).unwrap();
    let told = details(&nvml, &[Detail::Fabric]);
    let uuids = |of: &GpuDetails| of.uuid.clone();
    assert_eq!(
        told.gpus.iter().map(uuids).collect::<Vec<_>>(),
        seen.gpus.iter().map(|gpu| gpu.uuid.clone()).collect::<Vec<_>>()
    );
    (told, calls_in(&log))
}

fn inventory_and_fabric_of_eight_gpus_in_none_are_64_calls() {
    let (told, calls) = one_shot("dgx-a100");
    assert!(told.gpus.iter().all(|gpu| gpu.fabric == Reading::NotSupported), "{told:?}");
    assert_eq!((told.gpus.len(), calls), (8, 64));
}

fn inventory_and_fabric_of_eight_gpus_in_one_are_a_call_for_each_more() {
    let (told, calls) = one_shot("dgx-h100");
    let joined = Reading::Value(FabricState::Joined { cluster: None, clique: 0 });
    assert!(told.gpus.iter().all(|gpu| gpu.fabric == joined), "{told:?}");
    assert_eq!((told.gpus.len(), calls), (8, 63 + 8));
}

fn partitioned_gpu_speaks_of_its_fabric_for_itself_alone() {
    let node = Node::of("dgx-h100");
    node.state.change_mig("0", |mig, gpu| mig.set_mode(gpu, true)).unwrap().unwrap();
    node.fault_of_gpu(0, "nvmlDeviceGetGpuFabricInfoV", Effect::Return(3));
    let nvml = node.nvml();
    block_on(nvml.inventory()).unwrap();
    let told = details(&nvml, &[Detail::Fabric]);
    assert_eq!(told.gpus[0].fabric, Reading::NotSupported);
    assert!(told.gpus[1..].iter().all(|gpu| gpu.fabric.value().is_some()), "{told:?}");
}

fn place_in_a_larger_fabric_is_told_with_cluster_and_clique() {
    let told = details(&Node::of("gb200-nvl72").nvml(), &[Detail::Fabric]);
    let cluster = Some("6e1c3c2a-7d0b-4b1e-9f3a-5a2d8c4b7e10".to_owned());
    let joined = Reading::Value(FabricState::Joined { cluster, clique: 2 });
    assert!(!told.gpus.is_empty() && told.gpus.iter().all(|gpu| gpu.fabric == joined), "{told:?}");
}

fn gpu_that_has_not_joined_its_fabric_says_how_far_it_is() {
    let node = Node::of("dgx-h100");
    for (gpu, state) in [("1", "not-started"), ("2", "in-progress"), ("3", "failed")] {
        node.state.set(gpu, "fabric-state", state).unwrap();
    }
    let told = details(&node.nvml(), &[Detail::Fabric]);
    let expected = [FabricState::NotStarted, FabricState::InProgress, FabricState::Failed { status: 999 }];
    for (gpu, state) in told.gpus[1..].iter().zip(expected) {
        assert_eq!(gpu.fabric, Reading::Value(state));
    }
}

fn driver_of_the_first_ones_with_fabrics_is_asked_in_its_own_way() {
    let node = Node::of("gb200-nvl72");
    let nvml = node.nvml();
    let told = details(&nvml, &[Detail::Fabric]);
    let older = Node::of("gb200-nvl72");
    older.remove_function("nvmlDeviceGetGpuFabricInfoV");
    assert_eq!(details(&older.nvml(), &[Detail::Fabric]), told);
    let probes = block_on(older.nvml().probe()).unwrap();
    assert!(
        probes.iter().all(|probe| probe.condition.fabric == Reading::Value(nvml::Fabric::Well)),
        "{probes:?}"
    );
}

fn details_of_every_machine_are_those_of_its_models() {
    for preset in nvml_sim::presets::NODES {
        let node = Node::from_yaml(preset.yaml);
        let declared = node.state.node().unwrap();
        let told = details(&node.nvml(), &ALL);
        let has_state =
            declared.gpus.iter().any(|gpu| gpu.model.architecture >= nvml_sim::Architecture::Ampere);
        let off = if has_state { Reading::Value(false) } else { Reading::NotSupported };
        assert_eq!(told.confidential_compute, off, "{}", preset.name);
        assert_eq!(told.gpus.len(), declared.gpus.len(), "{}", preset.name);
        for (gpu, of) in told.gpus.iter().zip(&declared.gpus) {
            let model = &of.model;
            let ecc = if model.ecc.is_supported() {
                Reading::Value(model.ecc.is_on())
            } else {
                Reading::NotSupported
            };
            let is_partitioned = of.mig_instances.is_some();
            // Those without a peer are down.
            let links = match model.nvlinks == 0 || is_partitioned {
                true => Reading::NotSupported,
                false => Reading::Value(u32::try_from(of.links.len()).unwrap()),
            };
            let expected = GpuDetails {
                uuid: of.uuid.parse().unwrap(),
                fabric: gpu.fabric.clone(),
                ecc,
                nvlinks_up: links,
                pcie: Reading::Value(PcieLink { generation: model.pcie_generation, width: model.pcie_width }),
                power_limit_milliwatts: Reading::Value(model.power_limit_watts * 1000),
                gsp: if model.gsp { Reading::Value(true) } else { Reading::NotSupported },
                mig_room: if is_partitioned { gpu.mig_room.clone() } else { Reading::NotSupported },
            };
            assert_eq!(*gpu, expected, "{}", preset.name);
            let is_in_fabric = declared.fabric.is_some() && model.fabric;
            assert_eq!(gpu.fabric.value().is_some(), is_in_fabric, "{}", preset.name);
        }
    }
}

fn what_is_not_wanted_is_not_asked() {
    let node = Node::of("dgx-h100");
    let nvml = node.nvml();
    block_on(nvml.inventory()).unwrap();
    // Calls beyond those of the inventory, for eight GPUs.
    for (wanted, expected) in [
        (&[][..], 0),
        (&[Detail::Ecc], 8),
        (&[Detail::Pcie], 16),
        (&[Detail::Power, Detail::Gsp], 16),
        (&[Detail::NvLink], 16),
        (&[Detail::MigRoom], 8),
        (&[Detail::NvLink, Detail::MigRoom], 16),
        (&[Detail::ConfidentialCompute], 1),
    ] {
        let before = nvml.status().borrow().queries.calls;
        let told = details(&nvml, wanted);
        assert_eq!(nvml.status().borrow().queries.calls - before, expected, "{wanted:?}");
        let gpu = &told.gpus[0];
        assert_eq!(gpu.ecc.value().is_some(), wanted.contains(&Detail::Ecc), "{gpu:?}");
        assert_eq!(gpu.nvlinks_up.value().is_some(), wanted.contains(&Detail::NvLink), "{gpu:?}");
        assert_eq!(
            told.confidential_compute.value().is_some(),
            wanted.contains(&Detail::ConfidentialCompute)
        );
    }
}

/// A node with one GPU of a model that is partitioned so.
fn partitioned(model: &str, instances: &str) -> Node {
    Node::from_yaml(&format!(
        "seed: room\ndriver: {{version: 580.95.05, cuda: \"13.0\"}}\ngpus:\n  - {{model: {model}, pci: \"0000:07:00.0\", mig-instances: [{instances}]}}\n"
    ))
}

fn room_for_mig_is_what_the_driver_could_still_make() {
    for (model, instances, expected) in [
        ("A100-SXM4-80GB", "", "1g.10gb 2g.20gb 3g.40gb 4g.40gb 7g.80gb 1g.10gb+me 1g.20gb"),
        ("A100-SXM4-80GB", "3g.40gb@0, 1g.10gb@6", "1g.10gb 2g.20gb 1g.10gb+me 1g.20gb"),
        ("H100-SXM5-80GB", "7g.80gb", ""),
    ] {
        let node = partitioned(model, instances);
        let told = details(&node.nvml(), &ALL).gpus.remove(0);
        assert_eq!(told.nvlinks_up, Reading::NotSupported, "they are down while MIG is on");
        let Reading::Value(room) = told.mig_room else { panic!("{told:?}") };
        let room: Vec<_> = room.iter().map(ToString::to_string).collect();
        assert_eq!(room.join(" "), expected, "{model} {instances}");
    }
    let node = partitioned("A100-SXM4-80GB", "");
    node.fault("nvmlDeviceGetGpuInstanceRemainingCapacity", Effect::Return(4), None);
    let told = details(&node.nvml(), &[Detail::MigRoom]);
    let refused = Reading::Failed { call: "nvmlDeviceGetGpuInstanceRemainingCapacity".into(), code: 4 };
    assert_eq!(told.gpus[0].mig_room, refused, "only root is told");
}

fn number_beyond_all_sense_is_a_failed_reading_and_no_lie() {
    for seed in 0..4 {
        let node = Node::of("dgx-h100");
        for (gpu, function) in [
            (0, "nvmlDeviceGetMaxPcieLinkGeneration"),
            (1, "nvmlDeviceGetMaxPcieLinkWidth"),
            (2, "nvmlDeviceGetEnforcedPowerLimit"),
            (3, "nvmlDeviceGetFieldValues"),
        ] {
            node.fault_of_gpu(gpu, function, Effect::Garbage { seed });
        }
        let gpus = details(&node.nvml(), &ALL).gpus;
        assert_eq!(gpus[0].pcie, senseless("nvmlDeviceGetMaxPcieLinkGeneration"), "{seed}");
        assert_eq!(gpus[1].pcie, senseless("nvmlDeviceGetMaxPcieLinkWidth"), "{seed}");
        assert_eq!(gpus[2].power_limit_milliwatts, senseless("nvmlDeviceGetEnforcedPowerLimit"), "{seed}");
        assert_eq!(gpus[3].nvlinks_up, senseless("nvmlDeviceGetFieldValues"), "{seed}");
        assert!(gpus.iter().all(|gpu| gpu.ecc.value().is_some()), "it costs nothing else");

        let node = partitioned("A100-SXM4-80GB", "");
        const CAPACITY: &str = "nvmlDeviceGetGpuInstanceRemainingCapacity";
        node.fault(CAPACITY, Effect::Garbage { seed }, None);
        assert_eq!(details(&node.nvml(), &ALL).gpus[0].mig_room, senseless(CAPACITY), "{seed}");
    }
}

fn senseless<T>(call: &str) -> Reading<T> {
    Reading::Failed { call: call.to_owned(), code: failure::SENSELESS }
}

fn switch_that_is_neither_on_nor_off_is_a_failed_reading() {
    let told = details(&crate::garbage::broken("switches"), &ALL);
    assert_eq!(told.confidential_compute, senseless("nvmlSystemGetConfComputeState"));
    assert_eq!(told.gpus[0].ecc, senseless("nvmlDeviceGetEccMode"));
    assert_eq!(told.gpus[0].gsp, senseless("nvmlDeviceGetGspFirmwareMode"));
}

fn state_of_a_fabric_that_is_none_is_a_failed_reading() {
    let told = details(&crate::garbage::broken("fabric"), &ALL);
    assert_eq!(told.gpus[0].fabric, senseless("nvmlDeviceGetGpuFabricInfo"));
    // What this library lacks is not supported.
    assert_eq!((&told.gpus[0].ecc, &told.gpus[0].mig_room), (&Reading::NotSupported, &Reading::NotSupported));
}

fn confidential_computing_that_is_on_is_told() {
    assert_eq!(
        details(&crate::garbage::broken("confidential"), &ALL).confidential_compute,
        Reading::Value(true)
    );
    assert_eq!(details(&crate::garbage::broken(""), &ALL).confidential_compute, Reading::NotSupported);
}

fn gpu_lost_after_the_inventory_fails_its_own_details() {
    let node = Node::of("dgx-h100");
    let nvml = node.nvml();
    block_on(nvml.inventory()).unwrap();
    node.state.lose("3", None).unwrap();
    let told = details(&nvml, &[Detail::Fabric, Detail::Ecc]);
    let failed: Vec<_> = told.gpus.iter().filter(|gpu| gpu.ecc.value().is_none()).collect();
    let [gpu] = failed.as_slice() else { panic!("{told:?}") };
    assert_eq!(gpu.uuid.as_str(), node.uuid(3));
    assert_eq!(gpu.ecc, Reading::Failed { call: "nvmlDeviceGetEccMode".into(), code: 15 });
    // As one that cannot be identified it is left out.
    block_on(nvml.inventory()).unwrap();
    assert_eq!(details(&nvml, &[Detail::Ecc]).gpus.len(), 7);
}

fn gpu_that_hangs_in_a_detail_is_left_out_there_and_listed_elsewhere() {
    let node = Node::of("dgx-h100");
    let nvml = node.impatient_nvml();
    node.fault_of_gpu(3, "nvmlDeviceGetEccMode", Effect::Hang);
    for _ in 0..2 {
        let told = details(&nvml, &[Detail::Ecc]);
        let uuids: Vec<_> = told.gpus.iter().map(|gpu| gpu.uuid.to_string()).collect();
        let others = (0..8).filter(|index| *index != 3).map(|index| node.uuid(index));
        assert_eq!(uuids, others.collect::<Vec<_>>());
        let seen = block_on(nvml.inventory()).unwrap();
        assert_eq!((seen.gpus.len(), seen.failures.len()), (8, 0));
    }
}

fn details_without_an_inventory_identify_the_gpus_themselves() {
    let node = Node::of("dgx-a100");
    let (nvml, after) = (node.nvml(), node.nvml());
    block_on(after.inventory()).unwrap();
    let told = details(&nvml, &ALL);
    assert_eq!(told, details(&after, &ALL));
    // Some of them, whatever the inventory before was about.
    let seen = block_on(after.inventory()).unwrap();
    let one = nvml::GpuAt { index: 5, pci: *seen.gpus[5].pci.value().unwrap() };
    after.confine(Some(vec![one]));
    assert_eq!(details(&after, &ALL).gpus, [told.gpus[5].clone()]);
    after.confine(None);
    assert_eq!(details(&after, &ALL), told);
}
