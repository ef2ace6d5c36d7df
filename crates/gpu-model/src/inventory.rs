//! What GPUs a node has, as one look at the driver found them.

use serde::{Deserialize, Serialize};

use crate::{GpuUuid, MigDevice, MigFailure, MigMode, PciAddress, Reading};

/// One look at the driver. Partial by design: a GPU that could not be read stands in `failures`, and
/// the others are complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Versions of the driver that answered.
    pub driver: DriverVersions,
    /// GPUs that could be identified, by ascending index.
    pub gpus: Vec<Gpu>,
    /// GPUs that the driver counts and that could not be identified.
    pub failures: Vec<GpuFailure>,
}

/// Versions that belong together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriverVersions {
    /// Kernel driver, such as `580.95.05`.
    pub driver: String,
    /// NVML library, such as `13.580.95.05`.
    pub nvml: String,
    /// Highest CUDA version that the driver serves, as major and minor. NVML asks libcuda for it, which
    /// may be missing where the GPUs themselves answer.
    pub cuda: Reading<(u32, u32)>,
}

/// One physical GPU. Its UUID is always known: without one it would be a [`GpuFailure`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// Index of this enumeration; not stable across reboots.
    pub index: u32,
    /// Stable identity.
    pub uuid: GpuUuid,
    /// Minor number of `/dev/nvidia<minor>`.
    pub minor: Reading<u32>,
    /// Product name, such as `NVIDIA A100-SXM4-80GB`.
    pub product: Reading<String>,
    /// Where it sits on the PCI bus.
    pub pci: Reading<PciAddress>,
    /// Frame buffer in bytes, reserved parts included.
    pub memory_bytes: Reading<u64>,
    /// CUDA compute capability, as major and minor.
    pub compute_capability: Reading<(u32, u32)>,
    /// NUMA node of the CPUs next to it.
    pub numa_node: Reading<u32>,
    /// MIG mode, now and after the next reset.
    pub mig_mode: Reading<MigMode>,
    /// The MIG devices that could be read, by ascending index; none while MIG is off.
    pub mig_devices: Vec<MigDevice>,
    /// The MIG devices that could not be read.
    pub mig_failures: Vec<MigFailure>,
}

impl Gpu {
    /// One of which nothing else is known.
    pub fn bare(index: u32, uuid: GpuUuid) -> Gpu {
        Gpu {
            index,
            uuid,
            minor: Reading::NotSupported,
            product: Reading::NotSupported,
            pci: Reading::NotSupported,
            memory_bytes: Reading::NotSupported,
            compute_capability: Reading::NotSupported,
            numa_node: Reading::NotSupported,
            mig_mode: Reading::NotSupported,
            mig_devices: Vec::new(),
            mig_failures: Vec::new(),
        }
    }

    /// Whether MIG is on now.
    pub fn is_partitioned(&self) -> bool {
        self.mig_mode.value().is_some_and(|mode| mode.current)
    }

    /// Whether it is there for a monitor alone, as in NVIDIA's DGX Station: nobody hands such a one out.
    pub fn is_display(&self) -> bool {
        self.product.value().is_some_and(|name| name.contains("DGX Display"))
    }
}

/// A GPU that the driver counts and does not let us identify.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuFailure {
    /// Index of this enumeration.
    pub index: u32,
    /// The C function that failed.
    pub call: String,
    /// Its return code, as in `nvmlReturn_t`, or one of [`crate::failure`].
    pub code: u32,
}
