//! A node with eight A100s, as its inventory, driver files and device nodes tell.

use std::collections::BTreeSet;

use gpu_model::{DriverVersions, Gpu, Inventory, MigMode, Reading};
use node_host::device::{DeviceNode, NodeKind, Nodes};
use node_host::{DriverBinary, DriverFiles, DriverLibrary, HostPath, LocalPath};

pub const VERSION: &str = "580.95.05";

/// Device numbers as the driver has them: 195 for GPUs and control, one given by the kernel for UVM.
const NVIDIA_MAJOR: u32 = 195;
const UVM_MAJOR: u32 = 510;

pub fn dgx_a100() -> Inventory {
    let gpu = |index: u32| Gpu {
        index,
        uuid: format!("GPU-00000000-0000-4000-8000-00000000000{index}").parse().unwrap(),
        minor: Reading::Value(index),
        product: Reading::Value("NVIDIA A100-SXM4-80GB".to_owned()),
        pci: Reading::Value(format!("0000:0{index}:00.0").parse().unwrap()),
        memory_bytes: Reading::Value(85_899_345_920),
        compute_capability: Reading::Value((8, 0)),
        numa_node: Reading::Value(index / 2),
        mig_mode: Reading::Value(MigMode { current: false, pending: false }),
        mig_devices: Vec::new(),
        mig_failures: Vec::new(),
    };
    Inventory {
        driver: DriverVersions {
            driver: VERSION.to_owned(),
            nvml: format!("13.{VERSION}"),
            cuda: Reading::Value((13, 0)),
        },
        gpus: (0..8).map(gpu).collect(),
        failures: Vec::new(),
    }
}

/// A driver whose files the host has below `root` (`""` for a driver on the host itself).
pub fn driver(root: &str) -> DriverFiles {
    let place = |path: String| (path.parse::<HostPath>().unwrap(), LocalPath::new(format!("/host{path}")));
    let library = |subfolder: &str, file_name: &str, names: &[&str]| {
        let slash = if subfolder.is_empty() { "" } else { "/" };
        let (host, local) = place(format!("{root}/usr/lib/x86_64-linux-gnu/{subfolder}{slash}{file_name}"));
        let names: BTreeSet<_> = names.iter().chain([&file_name]).map(|name| (*name).to_owned()).collect();
        DriverLibrary { subfolder: subfolder.to_owned(), file_name: file_name.to_owned(), names, host, local }
    };
    let binary = |name: &str| {
        let (host, local) = place(format!("{root}/usr/bin/{name}"));
        DriverBinary { name: name.to_owned(), host, local }
    };
    DriverFiles {
        version: VERSION.to_owned(),
        multiarch: "x86_64-linux-gnu".to_owned(),
        libraries: vec![
            library("", "libcuda.so.580.95.05", &["libcuda.so.1", "libcuda.so"]),
            library("", "libnvidia-glcore.so.580.95.05", &[]),
            library("", "libnvidia-ml.so.580.95.05", &["libnvidia-ml.so.1"]),
            library("vdpau", "libvdpau_nvidia.so.580.95.05", &["libvdpau_nvidia.so.1"]),
        ],
        binaries: vec![binary("nvidia-debugdump"), binary("nvidia-smi")],
    }
}

/// The driver's nodes, which the host has in `dev`.
pub fn nodes(dev: &str) -> Nodes {
    let node = |name: &str, major: u32, minor: u32| DeviceNode {
        name: name.to_owned(),
        path: format!("{dev}/{name}").parse().unwrap(),
        kind: NodeKind::Character { major, minor },
        mode: 0o666,
        gid: 0,
    };
    let mut nodes = vec![
        node("nvidia-modeset", NVIDIA_MAJOR, 254),
        node("nvidia-uvm", UVM_MAJOR, 0),
        node("nvidia-uvm-tools", UVM_MAJOR, 1),
        node("nvidiactl", NVIDIA_MAJOR, 255),
    ];
    nodes.extend((0..8).map(|minor| node(&format!("nvidia{minor}"), NVIDIA_MAJOR, minor)));
    Nodes { usable: nodes, ..Nodes::default() }
}
