//! NVLinks: state, version and what is at their other end.

use nvml_sim::{Call, Code, Link, LinkError, NVLINK_BANDWIDTHS};
use nvml_wrapper_sys::bindings::*;

use super::identity::{OLD_PCI_INFO_BYTES, VENDOR, pci_info};
use super::{exports, gpu};
use crate::from_c::{Out, text_array};

/// `nvmlIntNvLinkDeviceType_t`.
const REMOTE_GPU: u32 = 0;
const REMOTE_SWITCH: u32 = 2;
/// `nvmlNvLinkCapability_t`: the first six numbers.
const CAPABILITIES: u32 = 6;
/// Two of them that GPUs on x86 lack: access to system memory, and atomics on it.
const NOT_ON_X86: [u32; 2] = [1, 3];
const SLI_BRIDGE: u32 = 4;

/// A simulated link runs no firmware.
const NO_FIRMWARE: nvmlNvlinkFirmwareInfo_t = nvmlNvlinkFirmwareInfo_t {
    firmwareVersion: [nvmlNvlinkFirmwareVersion_t { ucodeType: 0, major: 0, minor: 0, subMinor: 0 }; 100],
    numValidEntries: 0,
};

fn connected(call: &Call<'_>, device: &Out<nvmlDevice_st>, link: u32) -> Result<Link, Code> {
    gpu(call, device)?.link(link)?.ok_or(Code::NOT_SUPPORTED)
}

/// What stands for a switch that is no PCI device here: all ones. NCCL knows the address by that text.
fn not_visible() -> nvmlPciInfo_t {
    nvmlPciInfo_t {
        busIdLegacy: text_array("FFFF:FFFF:FF"),
        domain: 0xFFF_FFFF,
        bus: 0xFFFF,
        device: 0xFF,
        pciDeviceId: 0,
        pciSubSystemId: 0,
        busId: text_array("FFFFFFF:FFFF:FF"),
    }
}

fn remote_pci(call: &Call<'_>, device: &Out<nvmlDevice_st>, link: u32) -> Result<nvmlPciInfo_t, Code> {
    match connected(call, device, link)? {
        Link::Gpu(place) => Ok(pci_info(call.snapshot()?.by_place(place)?)),
        Link::Fabric => Ok(not_visible()),
        Link::Switch(pci) => Ok(nvmlPciInfo_t {
            busIdLegacy: text_array(&pci.nvml_legacy_id()),
            domain: pci.domain,
            bus: pci.bus.into(),
            device: pci.device.into(),
            pciDeviceId: u32::from(call.snapshot()?.node.nvswitch_device) << 16 | VENDOR,
            pciSubSystemId: 0,
            busId: text_array(&pci.nvml_id()),
        }),
    }
}

exports! {
    fn nvmlDeviceGetNvLinkState(device: nvmlDevice_t, link: u32, active: *mut u32) => |call| {
        active.put(gpu(call, &device)?.link(link)?.is_some().into())
    };
    fn nvmlDeviceGetNvLinkVersion(device: nvmlDevice_t, link: u32, version: *mut u32) => |call| {
        let view = gpu(call, &device)?;
        view.link(link)?;
        version.put(view.gpu.model.nvlink_version)
    };
    fn nvmlDeviceGetNvLinkCapability(device: nvmlDevice_t, link: u32, capability: u32, has: *mut u32) => |call| {
        gpu(call, &device)?.link(link)?;
        match capability {
            CAPABILITIES.. => Err(Code::INVALID_ARGUMENT),
            SLI_BRIDGE => has.put(0),
            _ => has.put((!NOT_ON_X86.contains(&capability)).into()),
        }
    };
    fn nvmlDeviceGetNvLinkRemotePciInfo(device: nvmlDevice_t, link: u32, pci: *mut nvmlPciInfo_t) => |call| {
        pci.put_beginning(remote_pci(call, &device, link)?, OLD_PCI_INFO_BYTES)
    };
    fn nvmlDeviceGetNvLinkRemotePciInfo_v2(device: nvmlDevice_t, link: u32, pci: *mut nvmlPciInfo_t) => |call| {
        pci.put(remote_pci(call, &device, link)?)
    };
    fn nvmlDeviceGetNvLinkRemoteDeviceType(device: nvmlDevice_t, link: u32, kind: *mut u32) => |call| {
        match connected(call, &device, link)? {
            Link::Gpu(_) => kind.put(REMOTE_GPU),
            Link::Switch(_) | Link::Fabric => kind.put(REMOTE_SWITCH),
        }
    };
    fn nvmlDeviceGetNvLinkErrorCounter(device: nvmlDevice_t, link: u32, counter: u32, count: *mut u64) => |call| {
        let view = gpu(call, &device)?;
        view.link(link)?;
        count.put(view.nvlink_errors(link, LinkError::from_number(counter)?)?)
    };
    fn nvmlDeviceResetNvLinkErrorCounters(device: nvmlDevice_t, link: u32) => |call| {
        call.library.clear_nvlink_errors(gpu(call, &device)?, link)
    };
    fn nvmlDeviceGetNvLinkInfo(device: nvmlDevice_t, info: *mut nvmlNvLinkInfo_v2_t) => |call| {
        let word = info.version()?;
        let whole = nvmlNvLinkInfo_v2_t { version: word, isNvleEnabled: 0, firmwareInfo: NO_FIRMWARE };
        let v1 = info.of_version::<nvmlNvLinkInfo_v1_t>(1);
        if v1.is_err() {
            info.expect_version(2)?;
        }
        // Encryption of NVLinks came with Blackwell.
        gpu(call, &device)?.nvlink_bandwidth()?;
        match v1 {
            Ok((v1, _)) => v1.put_beginning_of(whole),
            Err(_) => info.put(whole),
        }
    };
    fn nvmlDeviceGetNvlinkSupportedBwModes(device: nvmlDevice_t, modes: *mut nvmlNvlinkSupportedBwModes_v1_t) => |call| {
        let version = modes.expect_version(1)?;
        gpu(call, &device)?.nvlink_bandwidth()?;
        let mut list = [0; 23];
        for (place, mode) in list.iter_mut().zip(NVLINK_BANDWIDTHS) {
            *place = mode as u8;
        }
        let count = NVLINK_BANDWIDTHS.len() as u8;
        modes.put(nvmlNvlinkSupportedBwModes_v1_t { version, bwModes: list, totalBwModes: count })
    };
    fn nvmlDeviceGetNvlinkBwMode(device: nvmlDevice_t, mode: *mut nvmlNvlinkGetBwMode_v1_t) => |call| {
        let version = mode.expect_version(1)?;
        let bandwidth = gpu(call, &device)?.nvlink_bandwidth()?;
        mode.put(nvmlNvlinkGetBwMode_v1_t { version, bIsBest: (bandwidth == 0).into(), bwMode: bandwidth })
    };
    fn nvmlDeviceSetNvlinkBwMode(device: nvmlDevice_t, mode: *mut nvmlNvlinkSetBwMode_v1_t) => |call| {
        mode.expect_version(1)?;
        let view = gpu(call, &device)?;
        let wanted = mode.get()?;
        call.library.set_nvlink_bandwidth(view, (wanted.bSetBest == 0).then_some(wanted.bwMode))
    };
    fn nvmlDeviceSetNvLinkDeviceLowPowerThreshold(device: nvmlDevice_t, info: *mut nvmlNvLinkPowerThres_t) => |call| {
        let view = gpu(call, &device)?;
        call.library.set_nvlink_sleep(view, info.get()?.lowPwrThreshold)
    };
}
