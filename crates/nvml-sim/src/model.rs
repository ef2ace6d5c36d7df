//! What a GPU model is: the figures that its preset gives and a node file may override. It knows nothing of
//! where a GPU sits, nor of what happens to it.

mod kinds;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;
use crate::ecc::Ecc;
use crate::mig::MigTable;
pub use kinds::{Architecture, Brand, ComputeCapability};

/// A layer of optional keys as written in YAML, and the complete value that layers make. A key that no layer gives is an
/// error, nothing, or what follows from the keys above it.
macro_rules! layered {
    (
        $(#[$doc:meta])* $whole:ident, $layer:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }
        or nothing { $($(#[$optional_doc:meta])* $optional:ident: $optional_type:ty,)* }
        or else { $($(#[$other_doc:meta])* $other:ident: $other_type:ty = $default:expr,)* }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub struct $whole {
            $($(#[$field_doc])* pub $field: $type,)*
            $($(#[$optional_doc])* #[serde(skip_serializing_if = "is_default")] pub $optional: $optional_type,)*
            $($(#[$other_doc])* pub $other: $other_type,)*
        }

        /// Overrides: the keys of a GPU model. A GPU preset is a file of these keys; in a node file they are different for one
        /// GPU.
        #[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields)]
        pub struct $layer {
            $($(#[$field_doc])* #[serde(default)] $field: Option<$type>,)*
            $($(#[$optional_doc])* #[serde(default)] $optional: Option<$optional_type>,)*
            $($(#[$other_doc])* #[serde(default)] $other: Option<$other_type>,)*
        }

        impl $layer {
            /// This layer where it says something, `base` elsewhere.
            pub fn over(self, base: $layer) -> $layer {
                $layer {
                    $($field: self.$field.or(base.$field),)*
                    $($optional: self.$optional.or(base.$optional),)*
                    $($other: self.$other.or(base.$other),)*
                }
            }

            /// The complete value, or the first key that no layer gives.
            pub fn complete(self) -> Result<$whole, &'static str> {
                $(let $field = self.$field.ok_or(stringify!($field))?;)*
                $(let $optional = self.$optional.unwrap_or_default();)*
                $(let $other = self.$other.unwrap_or_else(|| $default);)*
                Ok($whole { $($field,)* $($optional,)* $($other,)* })
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
        /// Size of BAR1; `0B` where the GPU has none, since the CPU reaches its memory otherwise.
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
        /// Fans that the driver controls; 0 where the machine's fans cool the GPU.
        fans: u32,
        /// Whether the CPU reaches the GPU's memory coherently over NVLink-C2C.
        c2c: bool,
    }
    or else {
        /// Highest power limit that may be set, in watts; the default one where absent.
        power_limit_max_watts: u32 = power_limit_watts,
        /// Graphics clock that applications get unless they ask for another, in MHz; the highest one where absent.
        clock_application_mhz: u32 = clock_graphics_mhz,
        /// Bandwidth of one NVLink in one direction in MB/s, as the driver tells it; that of the version where absent.
        nvlink_mbps: u32 = nvlink_mbps_of(nvlink_version),
        /// Memory clocks that can be set, in MHz, the highest first; the memory clock alone where absent.
        clocks_memory_mhz: Vec<u32> = vec![clock_memory_mhz],
        /// Highest temperature of the memory in degrees Celsius, 0 where it has no sensor; where absent 95 from Ampere on on a
        /// bus of more than 1024 bits, which is that of HBM.
        temperature_memory_max_celsius: u32 =
            if architecture >= Architecture::Ampere && memory_bus_width > 1024 { 95 } else { 0 },
        /// Whether ECC is on when the GPU is shipped; where absent, if it can be had and the GPU is no GeForce.
        ecc_default: bool = ecc.is_supported() && !brand.is_geforce(),
        /// Whether rows of memory with errors are remapped; where absent, from Ampere on if ECC is shipped on.
        row_remapping: bool = architecture >= Architecture::Ampere && ecc_default,
        /// Banks of memory that have spare rows; where absent 16 for each GiB before Hopper and 32 since, if rows are remapped.
        row_remapper_banks: u32 = row_remapper_banks_of(row_remapping, architecture, memory),
        /// Whether pages of memory with errors are retired; where absent, before Ampere if ECC is shipped on.
        page_retirement: bool = architecture < Architecture::Ampere && ecc_default,
        /// Whether the GPU measures itself for GPM; from Hopper on where absent.
        gpm: bool = architecture >= Architecture::Hopper,
        /// Whether the GPU joins an NVLink fabric; where absent, from Hopper on if it has NVLinks.
        fabric: bool = architecture >= Architecture::Hopper && nvlinks > 0,
        /// Whether the driver's firmware runs on a processor of the GPU; from Turing on where absent.
        gsp: bool = architecture >= Architecture::Turing,
        /// Whether the board tells its serial number and part number; where absent, if it is no GeForce.
        board_numbers: bool = !brand.is_geforce(),
        /// Video encoders; those of the MIG table where absent.
        encoders: u32 = mig.engines.encode,
        /// Video decoders; those of the MIG table where absent.
        decoders: u32 = mig.engines.decode,
        /// JPEG decoders; those of the MIG table where absent.
        jpeg_decoders: u32 = mig.engines.jpeg,
        /// Optical flow accelerators; those of the MIG table where absent.
        optical_flow_accelerators: u32 = mig.engines.ofa,
    }
}

/// MB/s of one NVLink in one direction by version, as `nvidia-smi nvlink -s` prints them.
fn nvlink_mbps_of(version: u32) -> u32 {
    match version {
        0 => 0,
        1 => 19_531,
        2 | 3 => 25_781,
        4 | 5 => 25_000,
        6 => 26_562,
        _ => 53_125,
    }
}

/// Banks with spare rows, as `nvidia-smi -q` shows 640 of an A100-40GB and 2560 of an H100-80GB. A GPU's memory is a little
/// less than its chips have.
fn row_remapper_banks_of(remaps: bool, architecture: Architecture, memory: Bytes) -> u32 {
    let gib = u32::try_from(memory.0.div_ceil(1 << 30)).unwrap_or(u32::MAX);
    let each = if architecture < Architecture::Hopper { 16 } else { 32 };
    if remaps { gib.saturating_mul(each) } else { 0 }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Model {
    /// Whether the GPU can do MIG.
    pub fn is_mig_capable(&self) -> bool {
        self.mig_devices_max > 0
    }

    /// Whether errors of memory rows are mended by remapping.
    pub fn has_row_remapping(&self) -> bool {
        self.row_remapping
    }

    /// Whether pages are retired.
    pub fn has_page_retirement(&self) -> bool {
        self.page_retirement
    }

    /// Whether there are GPM samples.
    pub fn has_gpm(&self) -> bool {
        self.gpm
    }

    /// Graphics clocks that can be set, in MHz, the highest first: down to the idle one in the steps that listings of
    /// supported clocks show, half a megahertz rounded down.
    pub fn clocks_graphics_mhz(&self) -> Vec<u32> {
        let wide = Architecture::Turing..=Architecture::Hopper;
        let step_halves = if wide.contains(&self.architecture) { 30 } else { 15 };
        let (most, least) =
            (self.clock_graphics_mhz.saturating_mul(2), self.clock_idle_mhz.saturating_mul(2));
        let mut clocks: Vec<u32> = (0..)
            .map_while(|step: u32| most.checked_sub(step * step_halves))
            .take_while(|it| *it >= least)
            .collect();
        clocks.iter_mut().for_each(|halves| *halves /= 2);
        clocks
    }

    /// Whether its memory is HBM, which has stacks of 1024 bits: no other memory has so wide a bus.
    pub fn has_hbm(&self) -> bool {
        self.memory_bus_width >= 1024
    }

    /// The part of the frame buffer that processes can use.
    pub fn memory_usable(&self) -> Bytes {
        Bytes(self.memory.0.saturating_sub(self.memory_reserved.0))
    }
}
