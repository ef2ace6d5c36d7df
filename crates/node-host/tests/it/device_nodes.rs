//! Device nodes below a root. Without root they are plain files, which is told.

use node_host::device::{self, NodeKind, Nodes, NonDevices};

use crate::fixture::{Host, host_path};

#[test]
fn nodes_are_control_nodes_first_then_gpus_by_number() {
    let host = Host::empty();
    for name in [
        "nvidia10",
        "nvidia2",
        "nvidiactl",
        "nvidia-uvm",
        "nvidia-uvm-tools",
        "nvidia-nvswitch0",
        "nvidia-caps",
    ] {
        host.file(&format!("dev/{name}"), "");
    }
    let nodes = device::nodes(host.root().as_root(), NonDevices::Simulated, None).unwrap();
    assert_eq!(nodes.unusable.len(), 0);
    let names: Vec<_> = nodes.usable.into_iter().map(|node| node.name).collect();
    assert_eq!(names, ["nvidia-uvm", "nvidia-uvm-tools", "nvidiactl", "nvidia2", "nvidia10"]);
}

#[test]
fn node_that_is_a_plain_file_is_no_device() {
    let host = Host::empty();
    host.file("dev/nvidia0", "");
    let node = device::node(host.root().as_root(), "nvidia0").unwrap().unwrap();
    assert_eq!((node.kind, node.gpu_minor()), (NodeKind::Other, Some(0)));
}

#[test]
fn node_of_the_running_kernel_has_its_numbers() {
    let host = node_host::HostRoot::new("/");
    let null = device::node(host.as_root(), "null").unwrap().unwrap();
    assert_eq!(null.kind, NodeKind::Character { major: 1, minor: 3 });
    assert_eq!(null.container_path(), "/dev/null");
}

#[test]
fn node_below_a_driver_root_has_another_path_in_the_container() {
    let host = Host::with_driver("run/driver/usr/lib64");
    host.file("run/driver/dev/nvidiactl", "");
    let driver = host.driver_in("run/driver");
    let node = device::node(&device::root_of(&driver, &host.root()), "nvidiactl").unwrap().unwrap();
    assert_eq!(node.path, host_path("/run/driver/dev/nvidiactl"));
    assert_eq!(node.container_path(), "/dev/nvidiactl");
}

#[test]
fn driver_root_without_nodes_leaves_them_to_the_host() {
    let host = Host::with_driver("run/driver/usr/lib64");
    host.file("dev/nvidiactl", "");
    assert_eq!(device::root_of(&host.driver_in("run/driver"), &host.root()), *host.root().as_root());
}

#[test]
fn nodes_of_a_host_without_any_are_none() {
    let nodes = device::nodes(Host::empty().root().as_root(), NonDevices::Refused, None).unwrap();
    assert_eq!(nodes, Nodes::default());
}

#[test]
fn node_that_is_odd_is_told_with_its_reason_and_hides_no_other() {
    let host = Host::empty();
    for name in ["nvidia0", "nvidia2"] {
        host.file(&format!("dev/{name}"), "");
    }
    host.link("nvidia1", "dev/nvidia1");
    host.link("/dev/nvidia0", "dev/nvidiactl");
    rustix::fs::mkfifoat(rustix::fs::CWD, host.path("dev/nvidia3"), rustix::fs::Mode::RUSR).unwrap();
    let root = host.root();
    let nodes = device::nodes(root.as_root(), NonDevices::Simulated, None).unwrap();
    let usable: Vec<_> = nodes.usable.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(usable, ["nvidiactl", "nvidia0", "nvidia2"]);
    let told: Vec<_> = nodes.unusable.keys().collect();
    assert_eq!(told, ["nvidia1", "nvidia3"]);
    let looping = format!("cannot look at the device node {}: ", host.path("dev/nvidia1").display());
    assert!(nodes.unusable["nvidia1"].starts_with(&looping), "{nodes:?}");
    assert!(nodes.unusable["nvidia1"].ends_with(": too many links"), "{nodes:?}");
    let pipe = format!("{} is no character device", host.path("dev/nvidia3").display());
    assert_eq!(nodes.unusable["nvidia3"], pipe);
}

#[test]
fn node_that_is_a_plain_file_is_unusable_but_in_a_simulation() {
    let host = Host::empty();
    host.file("dev/nvidia0", "");
    let nodes = device::nodes(host.root().as_root(), NonDevices::Refused, None).unwrap();
    assert_eq!(nodes.usable, []);
    assert!(nodes.unusable["nvidia0"].ends_with("dev/nvidia0 is no character device"), "{nodes:?}");
}

#[test]
fn name_of_a_gpu_node_has_one_spelling() {
    assert_eq!(["nvidia7", "nvidia07", "nvidia+7", "nvidia", "nvidiactl"].map(device::gpu_minor), {
        [Some(7), None, None, None, None]
    });
}
