//! A node with eight A100s, as its inventory, driver files and device nodes tell.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cdi::builder::{BuildError, GpuSpec, Host, Kept, build};
use gpu_model::{DriverVersions, Gpu, Inventory, MigDevice, MigMode, Reading};
use node_host::capability::MigMinors;
use node_host::device::{DeviceNode, NodeKind, Nodes};
use node_host::{Companions, DriverBinary, DriverFile, DriverFiles, DriverLibrary, HostPath, LocalPath};

pub const VERSION: &str = "580.95.05";

/// Device numbers as the driver has them: 195 for GPUs and control, one given by the kernel for UVM.
const NVIDIA_MAJOR: u32 = 195;
const UVM_MAJOR: u32 = 510;
const CAPS_MAJOR: u32 = 237;

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
        extras: Vec::new(),
    }
}

/// The driver's nodes, which the host has in `dev`.
pub fn nodes(dev: &str) -> Nodes {
    let node = |name: &str, major: u32, minor: u32| node(dev, name, major, minor);
    let mut nodes = vec![
        node("nvidia-modeset", NVIDIA_MAJOR, 254),
        node("nvidia-uvm", UVM_MAJOR, 0),
        node("nvidia-uvm-tools", UVM_MAJOR, 1),
        node("nvidiactl", NVIDIA_MAJOR, 255),
    ];
    nodes.extend((0..8).map(|minor| node(&format!("nvidia{minor}"), NVIDIA_MAJOR, minor)));
    Nodes { usable: nodes, ..Nodes::default() }
}

pub fn node(dev: &str, name: &str, major: u32, minor: u32) -> DeviceNode {
    DeviceNode {
        name: name.to_owned(),
        path: format!("{dev}/{name}").parse().unwrap(),
        kind: NodeKind::Character { major, minor },
        mode: 0o666,
        gid: 0,
    }
}

/// A host with a driver and its nodes, and nothing else.
pub fn host(driver: &DriverFiles, nodes: &Nodes) -> Host {
    Host {
        driver: driver.clone(),
        nodes: nodes.clone(),
        mig_minors: MigMinors::default(),
        displays: BTreeMap::new(),
        companions: Companions::default(),
        sockets: Vec::new(),
        hook: None,
        management: false,
    }
}

pub fn kept(gpus: &[Gpu]) -> Kept<'_> {
    static NO_NAMES: VecDeque<String> = VecDeque::new();
    Kept { gpus, names: &NO_NAMES }
}

pub fn nothing_kept() -> Kept<'static> {
    kept(&[])
}

/// The spec of a host with a driver and its nodes, and nothing else.
pub fn full_gpus(inventory: &Inventory, driver: &DriverFiles, nodes: &Nodes) -> Result<GpuSpec, BuildError> {
    build(inventory, &nothing_kept(), &host(driver, nodes))
}

/// A MIG device at a place of a GPU.
pub fn part(gpu: u32, index: u32, profile: &str, gpu_instance: u32, compute_instance: u32) -> MigDevice {
    MigDevice {
        uuid: format!("MIG-00000000-0000-5000-8000-000000000{gpu}{index}0").parse().unwrap(),
        index,
        gpu_instance,
        compute_instance,
        profile: profile.parse().unwrap(),
        memory_bytes: Reading::NotSupported,
        attributes: gpu_model::MigAttributes::default(),
    }
}

/// Two GPUs, of which the first is cut in three, one GPU instance being shared by two compute instances.
pub fn partitioned() -> Inventory {
    let mut inventory = dgx_a100();
    inventory.gpus.truncate(2);
    let first = &mut inventory.gpus[0];
    first.mig_mode = Reading::Value(MigMode { current: true, pending: true });
    first.mig_devices =
        vec![part(0, 0, "1c.3g.40gb", 2, 0), part(0, 2, "2c.3g.40gb", 2, 1), part(0, 3, "1g.10gb", 7, 0)];
    inventory
}

/// The numbers that a driver gives: three for no instance, then nine for each GPU instance, of which a GPU has fifteen.
pub fn capability(gpu: u32, instance: u32, compute: Option<u32>) -> u32 {
    3 + (gpu * 15 + instance) * 9 + compute.map_or(0, |compute| 1 + compute)
}

/// A host of [`partitioned`] with a node for each capability in use.
pub fn partitioned_host() -> Host {
    let mut host = host(&driver(""), &nodes("/dev"));
    let places = [(2, None), (2, Some(0)), (2, Some(1)), (7, None), (7, Some(0))];
    let mut text = String::from("config 1\nmonitor 2\n");
    for (instance, compute) in places {
        let number = capability(0, instance, compute);
        let compute = compute.map_or(String::new(), |compute| format!("ci{compute}/"));
        text += &format!("gpu0/gi{instance}/{compute}access {number}\n");
        let name = format!("nvidia-caps/nvidia-cap{number}");
        host.nodes.capabilities.push(node("/dev", &name, CAPS_MAJOR, number));
    }
    host.mig_minors = MigMinors::parse(&text);
    host
}

/// A workstation: one GPU with a display, everything that a driver installs, daemons, companions, and hooks.
pub fn workstation() -> (Inventory, Host) {
    let mut inventory = dgx_a100();
    inventory.gpus.truncate(1);
    let mut nodes = nodes("/dev");
    nodes.usable.retain(|node| node.gpu_minor().is_none_or(|minor| minor == 0));
    let file = |container: &str, path: &str| DriverFile {
        container: container.to_owned(),
        host: path.parse().unwrap(),
        local: LocalPath::new(format!("/host{path}")),
    };
    let same = |path: &str| file(path, path);
    let mut driver = driver("");
    let allocator = "libnvidia-allocator.so.580.95.05";
    let (host_path, local) = (format!("/usr/lib/x86_64-linux-gnu/{allocator}"), LocalPath::new("/host"));
    driver.libraries.push(DriverLibrary {
        subfolder: String::new(),
        file_name: allocator.to_owned(),
        names: BTreeSet::from([allocator.to_owned(), "libnvidia-allocator.so.1".to_owned()]),
        host: host_path.parse().unwrap(),
        local,
    });
    driver.extras = vec![
        same("/etc/OpenCL/vendors/nvidia.icd"),
        file("/etc/vulkan/icd.d/nvidia_icd.json", "/usr/share/vulkan/icd.d/nvidia_icd.json"),
        same("/lib/firmware/nvidia/580.95.05/gsp_ga10x.bin"),
        same("/usr/share/glvnd/egl_vendor.d/10_nvidia.json"),
    ];
    let mut host = host(&driver, &nodes);
    let mut display = vec![node("/dev", "dri/card1", 226, 1), node("/dev", "dri/renderD128", 226, 128)];
    display.iter_mut().for_each(|node| (node.mode, node.gid) = (0o660, 44));
    host.displays = BTreeMap::from([("0000:00:00.0".parse().unwrap(), display)]);
    host.companions = Companions {
        gds: vec![node("/dev", "nvidia-fs0", 508, 0)],
        gds_files: vec![same("/etc/cufile.json"), same("/run/udev")],
        gdrcopy: vec![node("/dev", "gdrdrv", 507, 0)],
        mofed: vec![
            node("/dev", "infiniband/rdma_cm", 10, 121),
            node("/dev", "infiniband/uverbs0", 231, 192),
        ],
        imex_channels: vec![node("/dev", "nvidia-caps-imex-channels/channel0", 506, 0)],
    };
    host.sockets = vec![same("/run/nvidia-persistenced/socket")];
    host.hook = Some("/usr/bin/nvidia-cdi-hook".parse().unwrap());
    (inventory, host)
}
