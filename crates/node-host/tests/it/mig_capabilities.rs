//! Numbers and nodes of MIG capabilities.

use node_host::capability::{self, MigMinors};
use node_host::device::{self, NonDevices};

use crate::fixture::Host;

const MINORS: &str =
    "config 1\nmonitor 2\ngpu0/gi1/access 12\ngpu0/gi1/ci2/access 15\ngpu10/gi0/access 1353\n";

#[test]
fn numbers_of_instances_are_the_drivers() {
    let host = Host::empty();
    host.file("proc/driver/nvidia-caps/mig-minors", MINORS);
    let minors = MigMinors::read(&host.root()).unwrap();
    assert_eq!(minors.gpu_instance(0, 1), Some(12));
    assert_eq!(minors.compute_instance(0, 1, 2), Some(15));
    assert_eq!(minors.gpu_instance(10, 0), Some(1353));
    assert_eq!((minors.gpu_instance(0, 2), minors.compute_instance(0, 1, 0)), (None, None));
}

#[test]
fn lines_that_are_not_of_instances_are_passed_over() {
    let text = "\ngpu0/gi1/access\ngpu0/gi1/ci0/access x\ngpu/gi1/access 3\ngpu0/gi1/ci0/other 4\ngpu0/gi1/ci0/access/x 5\n";
    assert_eq!(MigMinors::parse(text), MigMinors::default());
}

#[test]
fn major_number_is_that_of_character_devices() {
    let host = Host::empty();
    host.file(
        "proc/devices",
        "Character devices:\n  1 mem\n195 nvidia\n237 nvidia-caps-imex-channels\n238 nvidia-caps\n\nBlock devices:\n  9 nvidia-caps\n",
    );
    assert_eq!(capability::major(&host.root()).unwrap(), Some(238));
    host.file("proc/devices", "Character devices:\n  1 mem\n\nBlock devices:\n  9 nvidia-caps\n");
    assert_eq!(capability::major(&host.root()).unwrap(), None);
}

#[test]
fn nodes_of_capabilities_stand_apart_by_number() {
    let host = Host::empty();
    for name in ["nvidia0", "nvidia-caps/nvidia-cap12", "nvidia-caps/nvidia-cap2", "nvidia-caps/nvidia-cap02"]
    {
        host.file(&format!("dev/{name}"), "");
    }
    let nodes = device::nodes(host.root().as_root(), NonDevices::Simulated, None).unwrap();
    assert_eq!(nodes.usable.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["nvidia0"]);
    let numbers: Vec<_> = nodes.capabilities.iter().map(|node| node.capability()).collect();
    assert_eq!(numbers, [Some(2), Some(12)]);
    assert_eq!(nodes.capabilities[0].container_path(), "/dev/nvidia-caps/nvidia-cap2");
}

#[test]
fn node_that_another_load_of_the_driver_left_is_unusable_with_the_numbers() {
    let host = Host::empty();
    host.dir("dev/nvidia-caps");
    if !mknod(&host) {
        return;
    }
    let nodes = |major| device::nodes(host.root().as_root(), NonDevices::Refused, major).unwrap();
    let numbers =
        |nodes: &device::Nodes| nodes.capabilities.iter().map(|node| node.capability()).collect::<Vec<_>>();
    let seen = nodes(Some(1));
    assert_eq!(numbers(&seen), [Some(3)]);
    assert!(seen.unusable["nvidia-caps/nvidia-cap8"].ends_with("is device 1:7, not 1:8"), "{seen:?}");
    assert_eq!(numbers(&nodes(Some(2))), []);
    assert_eq!(numbers(&nodes(None)), [Some(3), Some(8)]);
}

/// Nodes with the numbers of `/dev/null` and `/dev/full`, if this process may make some.
fn mknod(host: &Host) -> bool {
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    [(3, 3), (8, 7)].into_iter().all(|(number, minor)| {
        let path = host.path(&format!("dev/nvidia-caps/nvidia-cap{number}"));
        mknodat(CWD, path, FileType::CharacterDevice, Mode::RUSR, makedev(1, minor)).is_ok()
    })
}
