//! What a GPU model is: the figures that its preset gives and a node file may override. It knows nothing of
//! where a GPU sits, nor of what happens to it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::bytes::Bytes;
use crate::ecc::Ecc;
use crate::mig::MigTable;

/// A layer of optional keys as written in YAML, and the complete value that layers make.
macro_rules! layered {
    (
        $(#[$doc:meta])* $whole:ident, $layer:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }
        or nothing { $($(#[$optional_doc:meta])* $optional:ident: $optional_type:ty,)* }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub struct $whole {
            $($(#[$field_doc])* pub $field: $type,)*
            $($(#[$optional_doc])* #[serde(skip_serializing_if = "is_default")] pub $optional: $optional_type,)*
        }

        /// Some of the keys of a model: a preset, or a node file's overrides.
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields)]
        pub struct $layer {
            $(#[serde(default)] $field: Option<$type>,)*
            $(#[serde(default)] $optional: Option<$optional_type>,)*
        }

        impl $layer {
            /// This layer where it says something, `base` elsewhere.
            pub fn over(self, base: $layer) -> $layer {
                $layer {
                    $($field: self.$field.or(base.$field),)*
                    $($optional: self.$optional.or(base.$optional),)*
                }
            }

            /// The complete value, or the first key that no layer gives.
            pub fn complete(self) -> Result<$whole, &'static str> {
                Ok($whole {
                    $($field: self.$field.ok_or(stringify!($field))?,)*
                    $($optional: self.$optional.unwrap_or_default(),)*
                })
            }
        }
    };
}

layered! {
    /// The figures of a GPU model. Key names and units are those of the YAML files under `presets/gpus`.
    Model, ModelLayer {
        /// Product name, as `nvmlDeviceGetName` gives it.
        name: String,
        /// Brand.
        brand: Brand,
        /// Architecture.
        architecture: Architecture,
        /// CUDA compute capability.
        compute_capability: ComputeCapability,
        /// CUDA cores.
        cores: u32,
        /// Frame buffer, the reserved part included.
        memory: Bytes,
        /// The part of the frame buffer that driver and firmware keep.
        memory_reserved: Bytes,
        /// Width of the memory bus in bits.
        memory_bus_width: u32,
        /// Size of BAR1.
        bar1: Bytes,
        /// PCI device id.
        pci_device: u16,
        /// PCI subsystem device id.
        pci_subsystem: u16,
        /// PCI class code, 24 bits.
        pci_class: u32,
        /// Highest PCIe generation.
        pcie_generation: u32,
        /// PCIe lanes.
        pcie_width: u32,
        /// Part number of the board.
        part_number: String,
        /// VBIOS version.
        vbios: String,
        /// InfoROM image version.
        inforom: String,
        /// Whether ECC is on, off or not to be had.
        ecc: Ecc,
        /// The most MIG devices that the GPU can hold; 0 where it cannot do MIG.
        mig_devices_max: u32,
        /// NVLinks of the GPU; 0 where it has none.
        nvlinks: u32,
        /// NVLink version as `nvmlNvlinkVersion_t` numbers it: 4 is NVLink 3.0, 6 is 4.0.
        nvlink_version: u32,
        /// Default power limit in watts.
        power_limit_watts: u32,
        /// Lowest power limit that may be set, in watts.
        power_limit_min_watts: u32,
        /// Power drawn when idle, in watts.
        power_idle_watts: u32,
        /// Highest graphics and SM clock in MHz.
        clock_graphics_mhz: u32,
        /// Memory clock in MHz.
        clock_memory_mhz: u32,
        /// Highest video clock in MHz.
        clock_video_mhz: u32,
        /// Graphics clock when idle, in MHz.
        clock_idle_mhz: u32,
        /// Temperature when idle, in degrees Celsius.
        temperature_idle_celsius: u32,
        /// Temperature at which the GPU slows down.
        temperature_slowdown_celsius: u32,
        /// Temperature at which the GPU shuts down.
        temperature_shutdown_celsius: u32,
        /// Highest temperature of normal operation.
        temperature_max_celsius: u32,
    }
    or nothing {
        /// MIG profiles and placements.
        mig: MigTable,
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Model {
    /// Whether the GPU can do MIG.
    pub fn is_mig_capable(&self) -> bool {
        self.mig_devices_max > 0
    }

    /// The part of the frame buffer that processes can use.
    pub fn memory_usable(&self) -> Bytes {
        Bytes(self.memory.0.saturating_sub(self.memory_reserved.0))
    }
}

/// The brand of a GPU; numbers are `nvmlBrandType_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Brand {
    /// Quadro.
    Quadro = 1,
    /// Tesla.
    Tesla = 2,
    /// GeForce.
    Geforce = 5,
    /// NVIDIA RTX.
    NvidiaRtx = 13,
    /// NVIDIA, the brand of data centre GPUs since Ampere.
    Nvidia = 14,
}

/// The architecture of a GPU; numbers are `NVML_DEVICE_ARCH_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Architecture {
    /// Kepler.
    Kepler = 2,
    /// Maxwell.
    Maxwell = 3,
    /// Pascal.
    Pascal = 4,
    /// Volta.
    Volta = 5,
    /// Turing.
    Turing = 6,
    /// Ampere.
    Ampere = 7,
    /// Ada.
    Ada = 8,
    /// Hopper.
    Hopper = 9,
    /// Blackwell.
    Blackwell = 10,
    /// Rubin.
    Rubin = 13,
}

/// A CUDA compute capability such as `8.0`, written as quoted text so that YAML does not make it a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ComputeCapability {
    /// The part before the point.
    pub major: u8,
    /// The part after the point.
    pub minor: u8,
}

/// Text that is not a compute capability.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{0}` is not a compute capability; write major and minor, quoted, such as \"8.0\"")]
pub struct ParseComputeCapabilityError(String);

impl FromStr for ComputeCapability {
    type Err = ParseComputeCapabilityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (major, minor) = text.split_once('.')?;
            Some(ComputeCapability { major: major.parse().ok()?, minor: minor.parse().ok()? })
        };
        parse().ok_or_else(|| ParseComputeCapabilityError(text.to_owned()))
    }
}

impl fmt::Display for ComputeCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl TryFrom<String> for ComputeCapability {
    type Error = ParseComputeCapabilityError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ComputeCapability> for String {
    fn from(capability: ComputeCapability) -> String {
        capability.to_string()
    }
}
