//! Nodes beside those of GPUs: displays, and what some programs use together with GPUs.

use node_host::device::{DeviceNode, NonDevices};
use node_host::{Companions, display_nodes};

use crate::fixture::Host;

fn names(nodes: &[DeviceNode]) -> Vec<&str> {
    nodes.iter().map(|node| node.name.as_str()).collect()
}

#[test]
fn display_of_a_gpu_is_what_the_kernel_says_of_its_address() {
    let host = Host::empty();
    let root = host.root();
    let display = |address: &str| {
        display_nodes(&root, root.as_root(), address.parse().unwrap(), NonDevices::Simulated).unwrap()
    };
    for name in ["card0", "card10", "renderD128", "renderD129"] {
        host.file(&format!("dev/dri/{name}"), "");
    }
    for name in ["card10", "renderD129", "version", "controlD64"] {
        host.dir(&format!("sys/bus/pci/devices/0000:07:00.0/drm/{name}"));
    }
    host.dir("sys/bus/pci/devices/0000:0f:00.0");
    assert_eq!(names(&display("0000:07:00.0")), ["dri/card10", "dri/renderD129"]);
    assert_eq!(display("0000:0f:00.0"), []);
}

#[test]
fn display_is_the_hosts_where_a_driver_container_has_none() {
    let host = Host::with_driver("run/driver/usr/lib64");
    host.file("dev/dri/renderD128", "");
    host.dir("sys/bus/pci/devices/0000:07:00.0/drm/renderD128");
    let driver = host.driver_in("run/driver");
    let nodes =
        display_nodes(&host.root(), driver.root(), "0000:07:00.0".parse().unwrap(), NonDevices::Simulated);
    assert_eq!(nodes.unwrap()[0].path.as_str(), "/dev/dri/renderD128");
}

#[test]
fn companions_are_found_by_their_names_and_strangers_are_not() {
    let host = Host::with_driver("run/driver/usr/lib64");
    for path in [
        "dev/nvidia-fs10",
        "dev/nvidia-fs2",
        "dev/nvidia-fsck",
        "dev/infiniband/uverbs0",
        "dev/infiniband/rdma_cm",
        "dev/infiniband/umad0",
        "run/driver/dev/gdrdrv",
        "run/driver/dev/nvidia-caps-imex-channels/channel0",
        "run/driver/etc/cufile.json",
        "run/udev/control",
    ] {
        host.file(path, "");
    }
    let (driver, root) = (host.driver_in("run/driver"), host.root());
    let found = Companions::find(&driver, driver.root(), &root, NonDevices::Simulated).unwrap();
    assert_eq!(names(&found.gds), ["nvidia-fs2", "nvidia-fs10"]);
    let files: Vec<_> = found.gds_files.iter().map(|file| file.host.as_str()).collect();
    assert_eq!(files, ["/run/driver/etc/cufile.json", "/run/udev"]);
    assert_eq!(names(&found.gdrcopy), ["gdrdrv"]);
    assert_eq!(found.gdrcopy[0].path.as_str(), "/run/driver/dev/gdrdrv");
    assert_eq!(names(&found.mofed), ["infiniband/rdma_cm", "infiniband/uverbs0"]);
    assert_eq!(names(&found.imex_channels), ["nvidia-caps-imex-channels/channel0"]);
    // On a real node, plain files are no devices.
    let none = Companions::find(&driver, driver.root(), &root, NonDevices::Refused).unwrap();
    assert_eq!(none, Companions::default());
}
