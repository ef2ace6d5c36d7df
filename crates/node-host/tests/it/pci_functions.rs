//! NVIDIA's functions on the PCI bus.

use std::fs;

use node_host::pci::{ConfigSpace, PciFunction, nvidia_functions};
use node_host::vgpu::VgpuError;

use crate::fixture::Host;

const DEVICES: &str = "sys/bus/pci/devices";

/// Lays a function as sysfs has it: a link to a folder.
fn function(host: &Host, address: &str, vendor: &str, class: &str) {
    let folder = format!("sys/devices/pci0000:00/{address}");
    for (name, value) in [("vendor", vendor), ("device", "0x20b2"), ("class", class)] {
        host.file(&format!("{folder}/{name}"), &format!("{value}\n"));
    }
    host.link(format!("../../../devices/pci0000:00/{address}"), &format!("{DEVICES}/{address}"));
}

fn config(host: &Host, address: &str, bytes: &[u8]) {
    fs::write(host.path(&format!("{DEVICES}/{address}/config")), bytes).unwrap();
}

fn error(host: &Host) -> String {
    nvidia_functions(&host.root()).unwrap_err().to_string()
}

#[test]
fn functions_of_nvidia_are_told_by_address_with_class_and_configuration() {
    let host = Host::empty();
    function(&host, "0000:81:00.0", "0x10de", "0x030200");
    function(&host, "0000:07:00.1", "0x10de", "0x040300");
    function(&host, "0000:07:00.0", "0x10de", "0x030000");
    function(&host, "0000:00:1f.2", "0x8086", "0x030000");
    function(&host, "10000:01:00.0", "0x10de", "0x068000");
    config(&host, "0000:07:00.0", &[7; 4096]);
    config(&host, "0000:81:00.0", &[8; 64]);
    host.dir(&format!("{DEVICES}/odd"));
    let found = nvidia_functions(&host.root()).unwrap();
    let said: Vec<_> = found.iter().map(|of| (of.address.to_string(), of.class, of.is_gpu())).collect();
    let expected = [
        ("0000:07:00.0", 0x03_00_00, true),
        ("0000:07:00.1", 0x04_03_00, false),
        ("0000:81:00.0", 0x03_02_00, true),
        ("10000:01:00.0", 0x06_80_00, false),
    ];
    assert_eq!(said, expected.map(|(address, class, is_gpu)| (address.to_owned(), class, is_gpu)));
    assert!(found[0].is_vga() && !found[2].is_vga() && found.iter().all(|of| of.device == 0x20b2));
    assert_eq!(found[0].config, ConfigSpace::Bytes(vec![7; 256]), "no more than is of use");
    assert_eq!(found[2].config, ConfigSpace::Bytes(vec![8; 64]));
    let PciFunction { config: ConfigSpace::Unreadable { reason }, .. } = &found[1] else {
        panic!("{found:?}")
    };
    assert_eq!(found[1].vgpu(), Err(VgpuError::Unreadable { reason: reason.clone() }));
}

#[test]
fn bus_that_cannot_be_read_is_an_error_and_not_a_machine_without_gpus() {
    let host = Host::empty();
    assert!(error(&host).ends_with(DEVICES));
    function(&host, "0000:07:00.0", "0x10de", "display");
    assert!(error(&host).contains("class holds \"display\": expected a PCI number"), "{}", error(&host));
    host.file(&format!("{DEVICES}/0000:07:00.0/class"), "0x1030200\n");
    assert!(error(&host).contains("0x1030200"));
    host.file(&format!("{DEVICES}/0000:07:00.0/class"), "0x030200\n");
    // Gone while it was listed.
    host.link("../../../devices/nowhere", &format!("{DEVICES}/0000:08:00.0"));
    assert_eq!(nvidia_functions(&host.root()).unwrap().len(), 1);
}
