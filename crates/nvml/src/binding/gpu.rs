//! One GPU's getters.

use std::ffi::c_uint;

use gpu_model::{CommonAncestor, GpuUuid, PciAddress};
use nvml_wrapper::Device;
use nvml_wrapper::error::NvmlError as WrapperError;
use nvml_wrapper_sys::bindings as sys;

use super::text::Text;
use super::{Caller, Driver, Failure, raw};

/// Room for a UUID or a name; NVML asks for 96.
const TEXT_SIZE: usize = 128;

/// A GPU of a [`Driver`].
pub(crate) struct Gpu<'d> {
    pub(super) driver: &'d Driver<'d>,
    pub index: u32,
    pub(super) handle: sys::nvmlDevice_t,
}

/// Tells GPUs of one [`Driver`] apart; an address that is never followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GpuKey(usize);

/// What is at the other end of an active NVLink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkEnd {
    Switch,
    /// Whatever sits at this address: a GPU, or a switch of a driver that does not tell kinds.
    At(PciAddress),
    Other,
}

/// Everything PCI that one call tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pci {
    pub address: PciAddress,
    /// Device and vendor id: the same number is the same chip and product.
    pub chip: u32,
}

impl<'d> Gpu<'d> {
    pub(super) fn new(driver: &'d Driver<'d>, index: u32, handle: sys::nvmlDevice_t) -> Gpu<'d> {
        Gpu { driver, index, handle }
    }

    pub fn key(&self) -> GpuKey {
        GpuKey::of(self.handle)
    }

    /// A getter of nvml-wrapper.
    pub(super) fn get<T>(
        &self,
        call: &'static str,
        body: impl FnOnce(&Device<'_>) -> Result<T, WrapperError>,
    ) -> Result<T, Failure> {
        self.driver.query(call, Some(self.index), |nvml| {
            // SAFETY: the handle came from this library, which is initialised.
            body(&unsafe { Device::new(self.handle, nvml) })
        })
    }

    pub fn uuid(&self) -> Result<GpuUuid, Failure> {
        let mut text = Text::<TEXT_SIZE>::new();
        raw!(self, Query, nvmlDeviceGetUUID(self.handle, text.pointer(), text.size()))?;
        text.read().parse().map_err(|_| Failure::senseless("nvmlDeviceGetUUID"))
    }

    pub fn name(&self) -> Result<String, Failure> {
        let mut text = Text::<TEXT_SIZE>::new();
        raw!(self, Query, nvmlDeviceGetName(self.handle, text.pointer(), text.size()))?;
        Ok(text.read())
    }

    pub fn minor(&self) -> Result<u32, Failure> {
        self.get("nvmlDeviceGetMinorNumber", |gpu| gpu.minor_number())
    }

    pub fn compute_capability(&self) -> Result<(u32, u32), Failure> {
        const CALL: &str = "nvmlDeviceGetCudaComputeCapability";
        let version = self.get(CALL, |gpu| gpu.cuda_compute_capability())?;
        match (u32::try_from(version.major), u32::try_from(version.minor)) {
            (Ok(major), Ok(minor)) => Ok((major, minor)),
            _ => Err(Failure::senseless(CALL)),
        }
    }

    pub fn memory_bytes(&self) -> Result<u64, Failure> {
        let mut memory = sys::nvmlMemory_t { total: 0, free: 0, used: 0 };
        raw!(self, Query, nvmlDeviceGetMemoryInfo(self.handle, &raw mut memory))?;
        Ok(memory.total)
    }

    pub fn pci(&self) -> Result<Pci, Failure> {
        let mut info = empty_pci();
        raw!(self, Query, nvmlDeviceGetPciInfo_v3(self.handle, &raw mut info))?;
        let address = address(&info).ok_or_else(|| Failure::senseless("nvmlDeviceGetPciInfo_v3"))?;
        Ok(Pci { address, chip: info.pciDeviceId })
    }

    pub fn common_ancestor(&self, other: &Gpu<'_>) -> Result<CommonAncestor, Failure> {
        const CALL: &str = "nvmlDeviceGetTopologyCommonAncestor";
        let mut level = c_uint::MAX;
        raw!(self, Query, nvmlDeviceGetTopologyCommonAncestor(self.handle, other.handle, &raw mut level))?;
        Ok(match level {
            sys::nvmlGpuLevel_enum_NVML_TOPOLOGY_INTERNAL => CommonAncestor::SameBoard,
            sys::nvmlGpuLevel_enum_NVML_TOPOLOGY_SINGLE => CommonAncestor::SinglePcieSwitch,
            sys::nvmlGpuLevel_enum_NVML_TOPOLOGY_MULTIPLE => CommonAncestor::MultiplePcieSwitches,
            sys::nvmlGpuLevel_enum_NVML_TOPOLOGY_HOSTBRIDGE => CommonAncestor::HostBridge,
            sys::nvmlGpuLevel_enum_NVML_TOPOLOGY_NODE => CommonAncestor::NumaNode,
            sys::nvmlGpuLevel_enum_NVML_TOPOLOGY_SYSTEM => CommonAncestor::System,
            _ => return Err(Failure::senseless(CALL)),
        })
    }

    /// Whether NVLink number `link` is active.
    pub fn link_is_active(&self, link: u32) -> Result<bool, Failure> {
        let mut state = 0;
        raw!(self, Query, nvmlDeviceGetNvLinkState(self.handle, link, &raw mut state))?;
        Ok(state != 0)
    }

    /// What is at the other end of an active NVLink: asked by kind first, then by address.
    pub fn link_end(&self, link: u32) -> Result<LinkEnd, Failure> {
        if self.driver.abilities.nvlink_kind {
            let mut kind = sys::nvmlIntNvLinkDeviceType_enum_NVML_NVLINK_DEVICE_TYPE_UNKNOWN;
            let asked =
                raw!(self, Query, nvmlDeviceGetNvLinkRemoteDeviceType(self.handle, link, &raw mut kind));
            match (asked, kind) {
                (Ok(()), sys::nvmlIntNvLinkDeviceType_enum_NVML_NVLINK_DEVICE_TYPE_SWITCH) => {
                    return Ok(LinkEnd::Switch);
                }
                (Ok(()), sys::nvmlIntNvLinkDeviceType_enum_NVML_NVLINK_DEVICE_TYPE_IBMNPU) => {
                    return Ok(LinkEnd::Other);
                }
                // A GPU, or not told: its address says which.
                _ => {}
            }
        }
        let mut info = empty_pci();
        raw!(self, Query, nvmlDeviceGetNvLinkRemotePciInfo_v2(self.handle, link, &raw mut info))?;
        Ok(address(&info).map_or(LinkEnd::Other, LinkEnd::At))
    }
}

impl Caller for Gpu<'_> {
    fn driver(&self) -> &Driver<'_> {
        self.driver
    }

    fn gpu_index(&self) -> Option<u32> {
        Some(self.index)
    }
}

impl GpuKey {
    pub(super) fn of(handle: sys::nvmlDevice_t) -> GpuKey {
        GpuKey(handle.addr())
    }
}

fn empty_pci() -> sys::nvmlPciInfo_t {
    sys::nvmlPciInfo_t {
        busIdLegacy: [0; 16],
        domain: 0,
        bus: 0,
        device: 0,
        pciDeviceId: 0,
        pciSubSystemId: 0,
        busId: [0; 32],
    }
}

/// The address in numbers; a GPU is always function 0.
fn address(info: &sys::nvmlPciInfo_t) -> Option<PciAddress> {
    let bus = u8::try_from(info.bus).ok()?;
    let device = u8::try_from(info.device).ok().filter(|device| *device < 32)?;
    Some(PciAddress { domain: info.domain, bus, device, function: 0 })
}
