//! `nvml-probe walk`: everything is asked, of everything that is there.

use nvml_sim::{MigState, presets};
use serde_json::json;

use crate::probe::{Node, passed, probe};

#[test]
fn every_node_preset_is_walked_and_no_answer_is_written_beside_its_memory() {
    for preset in presets::NODES {
        let node = Node::of(preset.name);
        let walk = node.walk();
        let gpus = node.folder.node().unwrap().gpus;
        assert!(walk.simulated);
        assert_eq!(walk.trespasses, Vec::<String>::new(), "{}", preset.name);
        assert_eq!(walk.gpus.len(), gpus.len());
        for (walked, gpu) in walk.gpus.iter().zip(gpus) {
            assert_eq!(walked.answers["nvmlDeviceGetUUID"], json!(gpu.uuid));
            assert_eq!(walked.answers["nvmlDeviceGetName"], json!(gpu.model.name));
            let found = format!("GPU {}", gpu.index);
            assert_eq!(walked.answers["nvmlDeviceGetHandleByPciBusId_v2"], json!(found));
        }
    }
}

#[test]
fn mig_devices_and_instances_are_walked_too() {
    let node = Node::of("dgx-h100");
    let make = |mig: &mut MigState, gpu: &nvml_sim::Gpu| {
        mig.set_mode(gpu, true)?.unwrap();
        let instance = mig.create(gpu, 9, Some((4, 4)))?;
        mig.create_compute(gpu, instance, 0, None)?;
        mig.create_compute(gpu, instance, 0, None).map(|_| ())
    };
    node.folder.change_mig("2", make).unwrap();

    let walk = node.walk();
    let gpu = &walk.gpus[2];
    assert_eq!(gpu.mig_devices.keys().copied().collect::<Vec<_>>(), [0, 1]);
    assert_eq!(gpu.mig_devices[&1]["nvmlDeviceGetDeviceHandleFromMigDeviceHandle"], json!("GPU 2"));
    let instance = &gpu.gpu_instances[&2];
    let place = &instance.answers["nvmlGpuInstanceGetInfo"]["placement"];
    assert_eq!(*place, json!({ "start": 4, "size": 4 }));
    assert_eq!(instance.compute_instances.len(), 2);
    let info = &instance.compute_instances[&1]["nvmlComputeInstanceGetInfo_v2"];
    assert_eq!(info["gpuInstance"], json!("GPU instance 2/2"));
}

#[test]
fn library_that_is_not_nvml_is_refused() {
    let output = probe(&["walk", "--library", "libc.so.6"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("libc.so.6 has no function nvmlInit_v2: it is not an NVML library"), "{said}");
}

#[test]
fn table_shows_functions_of_a_word_alone() {
    let output = Node::of("t4").probe(&["walk", "--only", "minornumber"]).output().unwrap();
    assert_eq!(passed(&output), "Node (simulated)\nGPU 0\n  nvmlDeviceGetMinorNumber  0\n");
}
