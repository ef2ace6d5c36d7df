//! Nodes to label, in few words.

use gpu_config::{MigStrategy, Mode, read};
use gpu_feature_discovery::facts::{DriverFacts, Facts, PciFunction, Settings};
use gpu_model::{
    Details, DriverVersions, FabricState, Gpu, GpuDetails, GpuUuid, Inventory, MigAttributes, MigDevice,
    MigMode, PciAddress, Reading,
};

/// A model: its name, memory in MiB, and compute capability.
pub type Model = (&'static str, u64, (u32, u32));

pub const H100: Model = ("NVIDIA H100 80GB HBM3", 81_559, (9, 0));
pub const A100: Model = ("NVIDIA A100-SXM4-80GB", 81_920, (8, 0));
pub const T4: Model = ("Tesla T4", 15_360, (7, 5));

pub fn uuid(number: u32) -> GpuUuid {
    format!("GPU-00000000-0000-0000-0000-{number:012}").parse().unwrap()
}

pub fn address(number: u32) -> PciAddress {
    format!("0000:{:02x}:00.0", number + 1).parse().unwrap()
}

pub fn gpu(index: u32, (name, mib, capability): Model) -> Gpu {
    Gpu {
        index,
        uuid: uuid(index),
        minor: Reading::Value(index),
        product: Reading::Value(name.to_owned()),
        pci: Reading::Value(address(index)),
        memory_bytes: if mib == 0 { Reading::NotSupported } else { Reading::Value(mib << 20) },
        compute_capability: Reading::Value(capability),
        numa_node: Reading::Value(index % 2),
        mig_mode: Reading::NotSupported,
        mig_devices: Vec::new(),
        mig_failures: Vec::new(),
    }
}

/// A GPU of that model with MIG on, cut into these profiles.
pub fn cut(index: u32, model: Model, profiles: &[&str]) -> Gpu {
    let device = |(at, profile): (usize, &&str)| MigDevice {
        uuid: format!("MIG-00000000-0000-0000-{index:04}-{at:012}").parse().unwrap(),
        index: u32::try_from(at).unwrap(),
        gpu_instance: u32::try_from(at).unwrap() + 1,
        compute_instance: 0,
        profile: profile.parse().unwrap(),
        memory_bytes: Reading::Value(9728 << 20),
        attributes: MigAttributes { multiprocessors: 16, copy_engines: 1, ..MigAttributes::default() },
    };
    Gpu {
        mig_mode: Reading::Value(MigMode { current: true, pending: true }),
        mig_devices: profiles.iter().enumerate().map(device).collect(),
        ..gpu(index, model)
    }
}

pub fn details(index: u32) -> GpuDetails {
    GpuDetails {
        uuid: uuid(index),
        fabric: Reading::NotSupported,
        ecc: Reading::NotSupported,
        nvlinks_up: Reading::NotSupported,
        pcie: Reading::NotSupported,
        power_limit_milliwatts: Reading::NotSupported,
        gsp: Reading::NotSupported,
        mig_room: Reading::NotSupported,
    }
}

pub fn joined(clique: u32) -> Reading<FabricState> {
    let cluster = Some("b78d24b6-5a1e-4f2e-9a1b-0d9b0c6d6b10".to_owned());
    Reading::Value(FabricState::Joined { cluster, clique })
}

/// A node of such GPUs, on which everything can be read.
pub fn node(gpus: Vec<Gpu>) -> Facts {
    let function =
        |gpu: &Gpu| PciFunction { address: *gpu.pci.value().unwrap(), class: 0x03_0200, vgpu: Ok(None) };
    let pci = gpus.iter().map(function).collect();
    let details = Details {
        gpus: gpus.iter().map(|gpu| details(gpu.index)).collect(),
        confidential_compute: Reading::NotSupported,
    };
    let driver = DriverVersions {
        driver: "580.95.05".to_owned(),
        nvml: "13.580.95.05".to_owned(),
        cuda: Reading::Value((13, 0)),
    };
    let inventory = Inventory { driver, gpus, failures: Vec::new() };
    Facts {
        driver: Some(DriverFacts { inventory, details }),
        machine: Some("DGXH100\n".to_owned()),
        pci: Some(pci),
        ..Facts::default()
    }
}

/// Settings of a strategy and a config file.
pub fn settings(mig_strategy: MigStrategy, file: &str) -> Settings {
    let config = read("config.yaml", file, Mode::Strict).unwrap().config;
    Settings {
        mig_strategy,
        time_slicing: config.time_slicing,
        filter: config.devices,
        gpu_rules: config.gpu_rules,
        mig_rules: config.mig_rules,
        ..Settings::default()
    }
}
