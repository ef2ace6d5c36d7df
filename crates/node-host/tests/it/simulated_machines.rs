//! What is read of every machine that the simulator knows, and of odd ones.

use std::path::Path;

use node_host::pci::{PciFunction, nvidia_functions};
use node_host::vgpu::{VgpuError, VgpuHostDriver};
use node_host::{DriverFlavour, HostRoot, driver_flavour, machine_product};
use nvml_sim::{Node, StateFolder, presets, root};
use tempfile::TempDir;

/// Lays the root of a node.
fn machine(yaml: &str) -> (TempDir, HostRoot, Node) {
    let dir = tempfile::tempdir().unwrap();
    let folder = StateFolder::create(&dir.path().join("node"), Path::new("node.yaml"), yaml).unwrap();
    let library = dir.path().join("stand-in.so");
    std::fs::write(&library, "not a library").unwrap();
    root::lay(&folder, &dir.path().join("host"), Some(&library)).unwrap();
    let host = HostRoot::new(dir.path().join("host"));
    (dir, host, folder.node().unwrap())
}

#[test]
fn every_machine_shows_its_gpus_switches_name_and_kernel_module() {
    for preset in presets::NODES {
        let (_dir, host, node) = machine(preset.yaml);
        let gpus = node.gpus.iter().map(|gpu| (gpu.pci.to_string(), gpu.model.pci_class, true));
        let switches = node.nvswitches.iter().map(|switch| (switch.to_string(), 0x06_80_00, false));
        let mut expected: Vec<_> = gpus.chain(switches).collect();
        expected.sort();
        let functions = nvidia_functions(&host).unwrap();
        let said = |of: &PciFunction| (of.address.to_string(), of.class, of.is_gpu());
        assert_eq!(functions.iter().map(said).collect::<Vec<_>>(), expected, "{}", preset.name);
        assert!(functions.iter().all(|of| of.vgpu() == Ok(None)), "{}: {functions:?}", preset.name);
        assert_eq!(machine_product(&host, None).unwrap(), Some(node.machine), "{}", preset.name);
        let is_open = ["dgx-b200", "gb200-nvl72", "rtx-pro-6000"].contains(&preset.name);
        let flavour = if is_open { DriverFlavour::Open } else { DriverFlavour::Proprietary };
        assert_eq!(driver_flavour(&host).unwrap(), Some(flavour), "{}", preset.name);
    }
}

#[test]
fn machine_of_vgpus_is_told_as_far_as_its_configuration_spaces_can_be_read() {
    let gpu = |bus: u8, more: &str| format!("- {{model: T4, pci: \"0000:{bus:02x}:00.0\"{more}}}\n");
    let vgpu = ", vgpu: {host-version: \"535.129.03\", host-branch: r535_00}";
    let (_dir, host, _) = machine(&format!(
        "driver: {{version: 580.95.05, cuda: \"13.0\"}}\nseed: guest\ndmi: false\ngpus:\n{}{}{}{}",
        gpu(1, vgpu),
        gpu(2, &format!("{vgpu}, pci-config: head")),
        gpu(3, ", pci-config: missing"),
        gpu(4, ""),
    ));
    assert_eq!(machine_product(&host, None).unwrap(), None);
    let found: Vec<_> = nvidia_functions(&host).unwrap().iter().map(PciFunction::vgpu).collect();
    let driver = VgpuHostDriver { version: "535.129.03".into(), branch: "r535_00".into() };
    let [whole, head, missing, none] = &found[..] else { panic!("{found:?}") };
    assert_eq!((whole, none), (&Ok(Some(driver)), &Ok(None)));
    assert_eq!(*head, Err(VgpuError::Short { bytes: 64 }));
    assert!(matches!(missing, Err(VgpuError::Unreadable { .. })), "{missing:?}");
}
