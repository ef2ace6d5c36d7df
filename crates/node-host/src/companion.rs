//! Device nodes beside those of the GPUs themselves: their display nodes, and what some programs use together with
//! GPUs. They belong to other drivers, and are odd or absent without any harm to the GPUs.
//!
//! Which nodes and files these are: NVIDIA's container toolkit 1.18 (`gds`, `mofed`, `gdrcopy` and `imex` modes).

use gpu_model::PciAddress;

use crate::device::{self, DeviceError, DeviceNode, NonDevices};
use crate::driver_root::{DriverFile, DriverRoot};
use crate::root::{HostRoot, Root};

/// What a container can be given beside GPUs. Each is empty where the host lacks it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Companions {
    /// GPUDirect Storage: `nvidia-fs<N>`.
    pub gds: Vec<DeviceNode>,
    /// What GPUDirect Storage reads: its configuration, and udev's knowledge of disks.
    pub gds_files: Vec<DriverFile>,
    /// GDRCopy: `gdrdrv`.
    pub gdrcopy: Vec<DeviceNode>,
    /// InfiniBand: `infiniband/uverbs<N>` and `infiniband/rdma_cm`.
    pub mofed: Vec<DeviceNode>,
    /// IMEX channels by number: `nvidia-caps-imex-channels/channel<N>`.
    pub imex_channels: Vec<DeviceNode>,
}

impl Companions {
    /// What is there: nodes of NVIDIA's driver below `dev`, those of other drivers below the host's own `/dev`.
    pub fn find(
        driver: &DriverRoot,
        dev: &Root,
        host: &HostRoot,
        non_devices: NonDevices,
    ) -> Result<Companions, DeviceError> {
        let own = host.as_root();
        let list = |root: &Root, folder: &str, is_wanted: &dyn Fn(&str) -> bool| {
            device::in_folder(root, folder, is_wanted, non_devices)
        };
        let gds = list(own, "", &|name| is_numbered(name, "nvidia-fs"))?;
        let gds_files = if gds.is_empty() { Vec::new() } else { gds_files(driver, host) };
        Ok(Companions {
            gds,
            gds_files,
            gdrcopy: list(dev, "", &|name| name == "gdrdrv")?,
            mofed: list(own, "infiniband", &|name| name == "rdma_cm" || is_numbered(name, "uverbs"))?,
            imex_channels: list(dev, "nvidia-caps-imex-channels", &|name| is_numbered(name, "channel"))?,
        })
    }
}

fn gds_files(driver: &DriverRoot, host: &HostRoot) -> Vec<DriverFile> {
    let at = |root: &Root, path: &str| DriverFile::at(root, path, path);
    let config = "/etc/cufile.json";
    let config = at(driver.root(), config).or_else(|| at(host.as_root(), config));
    config.into_iter().chain(at(host.as_root(), "/run/udev")).collect()
}

/// The nodes of the display driver for the GPU at an address: `dri/card<N>` and `dri/renderD<N>`. None where no module
/// drives displays, as on most servers.
///
/// They are looked for below `dev`, and where that has none, below the host's own `/dev`.
pub fn display_nodes(
    host: &HostRoot,
    dev: &Root,
    gpu: PciAddress,
    non_devices: NonDevices,
) -> Result<Vec<DeviceNode>, DeviceError> {
    let names = device::names_in(host.as_root(), &format!("sys/bus/pci/devices/{gpu}/drm"))?;
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let is_wanted = |name: &str| names.iter().any(|known| known == name) && is_display(name);
    for root in [dev, host.as_root()] {
        let nodes = device::in_folder(root, "dri", &is_wanted, non_devices)?;
        if !nodes.is_empty() {
            return Ok(nodes);
        }
    }
    Ok(Vec::new())
}

fn is_display(name: &str) -> bool {
    is_numbered(name, "card") || is_numbered(name, "renderD")
}

/// Whether a name is `stem` with a number.
fn is_numbered(name: &str, stem: &str) -> bool {
    let digits = name.strip_prefix(stem).unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}
