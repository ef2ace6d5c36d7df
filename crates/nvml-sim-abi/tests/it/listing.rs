//! What a program that lists GPUs sees.

use nvml_sim::StateFolder;
use nvml_wrapper::error::NvmlError;

use crate::sim::{child, in_child, is_child, nvml, passed};

#[test]
fn t4_node_lists_its_gpu() {
    in_child("listing::t4_node_lists_its_gpu", "t4", || {
        let nvml = nvml();
        assert_eq!(nvml.sys_driver_version().unwrap(), "580.95.05");
        assert_eq!(nvml.sys_cuda_driver_version().unwrap(), 13000);
        assert_eq!(nvml.device_count().unwrap(), 1);
        let device = nvml.device_by_index(0).unwrap();
        assert_eq!(device.name().unwrap(), "Tesla T4");
        assert_eq!(device.memory_info().unwrap().total, 15360 << 20);
        assert_eq!(device.pci_info().unwrap().bus_id, "00000000:00:1E.0");
        assert_eq!(device.minor_number().unwrap(), 0);
        let uuid = device.uuid().unwrap();
        assert_eq!(nvml.device_by_uuid(uuid).unwrap().index().unwrap(), 0);
        assert!(matches!(nvml.device_by_index(1), Err(NvmlError::InvalidArg)));
    });
}

#[test]
fn dgx_node_lists_eight_distinct_gpus() {
    in_child("listing::dgx_node_lists_eight_distinct_gpus", "dgx-a100", || {
        let nvml = nvml();
        let mut uuids: Vec<_> = (0..8).map(|i| nvml.device_by_index(i).unwrap().uuid().unwrap()).collect();
        uuids.sort();
        uuids.dedup();
        assert_eq!(uuids.len(), 8);
    });
}

#[test]
fn second_initialisation_after_shutdown_works() {
    in_child("listing::second_initialisation_after_shutdown_works", "t4", || {
        for _ in 0..3 {
            let first = nvml();
            let second = nvml();
            first.shutdown().unwrap();
            assert_eq!(second.device_count().unwrap(), 1);
            second.shutdown().unwrap();
        }
    });
}

#[test]
fn node_file_with_overrides_lists_what_it_says() {
    const NAME: &str = "listing::node_file_with_overrides_lists_what_it_says";
    if is_child() {
        let nvml = nvml();
        let gpu = |index| nvml.device_by_index(index).unwrap();
        assert_eq!(nvml.device_count().unwrap(), 3);
        assert_eq!(gpu(0).name().unwrap(), "Tesla T4");
        assert_eq!(gpu(1).name().unwrap(), "NVIDIA Frankenstein");
        assert_eq!(gpu(1).memory_info().unwrap().total, 40 << 30);
        assert_eq!(gpu(1).uuid().unwrap(), "GPU-00000000-1111-2222-3333-444444444444");
        assert_eq!(gpu(2).minor_number().unwrap(), 7);
        return;
    }
    let yaml = r#"
driver: {version: 550.90.07, cuda: "12.4"}
seed: three
gpus:
  - {model: T4, pci: "0000:01:00.0"}
  - model: A100-SXM4-80GB
    pci: "0000:02:00.0"
    uuid: GPU-00000000-1111-2222-3333-444444444444
    overrides: {name: NVIDIA Frankenstein, memory: 40GiB, mig-devices-max: 0}
  - {model: H100-SXM5-80GB, pci: "0001:00:1f.0", minor: 7}
"#;
    let dir = tempfile::tempdir().unwrap();
    let folder = StateFolder::create(&dir.path().join("node"), "three.yaml".as_ref(), yaml).unwrap();
    let output = child(NAME, folder.dir()).output().unwrap();
    passed(&output);
}
