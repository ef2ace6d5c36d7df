//! Boot id and NUMA nodes.

use node_host::{HostRoot, boot_id, numa_node};

use crate::fixture::Host;

const BOOT: &str = "proc/sys/kernel/random/boot_id";

#[test]
fn boot_id_of_the_host_root_goes_before_the_own() {
    let host = Host::empty();
    assert_eq!(boot_id(&host.root()).unwrap(), boot_id(&HostRoot::new("/")).unwrap());
    host.file(BOOT, "11111111-2222-3333-4444-555555555555\n");
    assert_eq!(boot_id(&host.root()).unwrap().as_str(), "11111111-2222-3333-4444-555555555555");
}

#[test]
fn boot_id_that_is_garbage_is_an_error_with_file_and_value() {
    let host = Host::empty();
    host.file(BOOT, "what?\n");
    let error = boot_id(&host.root()).unwrap_err().to_string();
    assert!(error.contains(BOOT) && error.contains("what?"), "{error}");
}

#[test]
fn numa_node_is_read_through_the_links_of_sysfs() {
    let host = Host::empty();
    host.file("sys/devices/pci0000:00/0000:07:00.0/numa_node", "3\n");
    host.link("../../../devices/pci0000:00/0000:07:00.0", "sys/bus/pci/devices/0000:07:00.0");
    host.file("sys/bus/pci/devices/0000:0f:00.0/numa_node", "-1\n");
    host.file("sys/bus/pci/devices/0000:10:00.0/numa_node", "many\n");
    let node = |address: &str| numa_node(&host.root(), address.parse().unwrap());
    assert_eq!(node("00000000:07:00.0").unwrap(), Some(3));
    assert_eq!(node("0000:0f:00.0").unwrap(), None);
    assert_eq!(node("0000:ff:00.0").unwrap(), None);
    assert!(node("0000:10:00.0").unwrap_err().to_string().contains("many"));
}

#[test]
fn numa_node_that_cannot_be_looked_at_is_an_error_and_not_unknown() {
    let host = Host::empty();
    host.link("0000:07:00.0", "sys/bus/pci/devices/0000:07:00.0");
    let error = numa_node(&host.root(), "0000:07:00.0".parse().unwrap()).unwrap_err();
    assert!(error.to_string().ends_with("devices/0000:07:00.0/numa_node"), "{error}");
}
