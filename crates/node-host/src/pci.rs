//! NVIDIA's functions on the PCI bus, as sysfs lists them whether or not a driver is loaded. What the bytes of a
//! configuration space mean is not known here, but for vGPUs in [`crate::vgpu`].

use std::io;
use std::path::Path;

use gpu_model::PciAddress;

use crate::kernel::{ReadError, read_bytes};
use crate::path::LocalPath;
use crate::root::HostRoot;
use crate::vgpu::{self, VgpuError, VgpuHostDriver};

const DEVICES: &str = "/sys/bus/pci/devices";

/// NVIDIA's vendor id.
const NVIDIA: u32 = 0x10de;

/// Class and subclass of a GPU with a display, and of one without (PCI Code and ID Assignment Specification 1.x, base
/// class 03h).
const VGA_CONTROLLER: u32 = 0x0300;
const CONTROLLER_3D: u32 = 0x0302;

/// Bytes of the configuration space of conventional PCI, where the capabilities are that are asked for here.
pub const CONFIG_SPACE_BYTES: usize = 256;

/// Longest file of a number; the kernel's own are 9 bytes long.
const NUMBER_BYTES: usize = 64;

/// One function of NVIDIA's on the PCI bus: a GPU, its sound, an NVSwitch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PciFunction {
    /// Where it is.
    pub address: PciAddress,
    /// Device id.
    pub device: u16,
    /// Class code, 24 bits: base class, subclass, programming interface.
    pub class: u32,
    /// Its configuration space.
    pub config: ConfigSpace,
}

/// What could be read of a configuration space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigSpace {
    /// Its first bytes, at most [`CONFIG_SPACE_BYTES`]: the kernel gives 64 to a process without `CAP_SYS_ADMIN`.
    Bytes(Vec<u8>),
    /// None.
    Unreadable {
        /// Why not, in words.
        reason: String,
    },
}

impl PciFunction {
    /// Whether it is a GPU that shows pictures, or could: VGA controller.
    pub fn is_vga(&self) -> bool {
        self.class >> 8 == VGA_CONTROLLER
    }

    /// Whether it is a GPU, with a display or without.
    pub fn is_gpu(&self) -> bool {
        self.is_vga() || self.class >> 8 == CONTROLLER_3D
    }

    /// The driver of the host that this function is a vGPU of; nothing if it is none.
    ///
    /// # Errors
    /// When the configuration space does not tell, or tells nonsense.
    pub fn vgpu(&self) -> Result<Option<VgpuHostDriver>, VgpuError> {
        match &self.config {
            ConfigSpace::Bytes(bytes) => vgpu::host_driver(bytes),
            ConfigSpace::Unreadable { reason } => Err(VgpuError::Unreadable { reason: reason.clone() }),
        }
    }
}

/// NVIDIA's functions on the PCI bus, by address. One that goes away meanwhile is left out.
///
/// # Errors
/// When the bus cannot be listed, or what a function is cannot be read. A configuration space that cannot be read is no
/// error: it stands in its function.
pub fn nvidia_functions(host: &HostRoot) -> Result<Vec<PciFunction>, ReadError> {
    let folder = host.as_root().local_path(Path::new(DEVICES));
    let failed = |source| ReadError::Io { path: folder.clone(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let Some(address) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        match function(&folder.join(name), address) {
            Ok(function) => found.extend(function),
            Err(ReadError::Io { source, .. }) if is_gone(&source) => {}
            Err(error) => return Err(error),
        }
    }
    found.sort_by_key(|function: &PciFunction| function.address);
    Ok(found)
}

/// The function in this folder, if it is NVIDIA's.
fn function(folder: &LocalPath, address: PciAddress) -> Result<Option<PciFunction>, ReadError> {
    if number(&folder.join("vendor"), 0xffff)? != NVIDIA {
        return Ok(None);
    }
    let device = number(&folder.join("device"), 0xffff)?;
    let class = number(&folder.join("class"), 0xff_ffff)?;
    let config = match read_bytes(&folder.join("config"), CONFIG_SPACE_BYTES) {
        Ok(bytes) => ConfigSpace::Bytes(bytes),
        Err(ReadError::Io { source, .. }) => ConfigSpace::Unreadable { reason: source.to_string() },
        Err(error) => ConfigSpace::Unreadable { reason: error.to_string() },
    };
    // No more than `number` lets through.
    let device = u16::try_from(device).unwrap_or(u16::MAX);
    Ok(Some(PciFunction { address, device, class, config }))
}

/// A file of one hexadecimal number, such as `0x10de`.
fn number(path: &LocalPath, greatest: u32) -> Result<u32, ReadError> {
    let bytes = read_bytes(path, NUMBER_BYTES)?;
    let value = String::from_utf8_lossy(&bytes).trim().to_owned();
    let digits =
        value.strip_prefix("0x").filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let expected = "a PCI number, such as 0x10de";
    number.filter(|number| *number <= greatest).ok_or_else(|| ReadError::Content {
        path: path.clone(),
        value,
        expected,
    })
}

/// The function, or its device as a whole, was removed.
fn is_gone(error: &io::Error) -> bool {
    const ENODEV: i32 = rustix::io::Errno::NODEV.raw_os_error();
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(ENODEV)
}
