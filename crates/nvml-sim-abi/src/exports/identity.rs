//! What a GPU is: names, numbers, versions, memory size, PCI address.

use std::ffi::c_char;
use std::mem::offset_of;

use nvml_sim::{Code, DeviceView, Gpu, GpuView};
use nvml_wrapper_sys::bindings::*;

use super::{device as device_of, exports, gpu};
use crate::from_c::text_array;

/// PCI vendor id of NVIDIA.
pub(super) const VENDOR: u32 = 0x10DE;
/// `nvmlBusType_t`: PCIe.
const BUS_TYPE_PCIE: u32 = 2;
/// What `nvmlPciInfo_t` ended with before the 32-byte bus id was added to it.
pub(super) const OLD_PCI_INFO_BYTES: usize = offset_of!(nvmlPciInfo_t, busId);
const _: () = assert!(OLD_PCI_INFO_BYTES == 36, "an old client's struct is so long");

/// A GPU's PCI address and ids.
pub(super) fn pci_info(gpu: &Gpu) -> nvmlPciInfo_t {
    let (pci, model) = (gpu.pci, &gpu.model);
    nvmlPciInfo_t {
        busIdLegacy: text_array(&pci.nvml_legacy_id()),
        domain: pci.domain,
        bus: pci.bus.into(),
        device: pci.device.into(),
        pciDeviceId: u32::from(model.pci_device) << 16 | VENDOR,
        pciSubSystemId: u32::from(model.pci_subsystem) << 16 | VENDOR,
        busId: text_array(&pci.nvml_id()),
    }
}

/// Only boards for data centres and workstations tell their numbers.
fn with_numbers(view: GpuView<'_>) -> Result<GpuView<'_>, Code> {
    if view.gpu.model.board_numbers { Ok(view) } else { Err(Code::NOT_SUPPORTED) }
}

/// Only GPUs with a processor for it run the driver's firmware.
fn with_gsp(view: GpuView<'_>) -> Result<GpuView<'_>, Code> {
    if view.gpu.model.gsp { Ok(view) } else { Err(Code::NOT_SUPPORTED) }
}

exports! {
    fn nvmlDeviceGetName(device: nvmlDevice_t, name: *mut c_char, length: u32) => |call| {
        name.put_text(length, &device_of(call, &device)?.name())
    };
    fn nvmlDeviceGetUUID(device: nvmlDevice_t, uuid: *mut c_char, length: u32) => |call| {
        uuid.put_text(length, device_of(call, &device)?.uuid())
    };
    fn nvmlDeviceGetSerial(device: nvmlDevice_t, serial: *mut c_char, length: u32) => |call| {
        serial.put_text(length, &with_numbers(gpu(call, &device)?)?.gpu.serial)
    };
    fn nvmlDeviceGetIndex(device: nvmlDevice_t, index: *mut u32) => |call| {
        index.put(match device_of(call, &device)? {
            DeviceView::Gpu(view) => view.gpu.index as u32,
            // Within its GPU.
            DeviceView::Mig(device) => device.made.index,
        })
    };
    fn nvmlDeviceGetMinorNumber(device: nvmlDevice_t, minor: *mut u32) => |call| {
        minor.put(gpu(call, &device)?.gpu.minor)
    };
    fn nvmlDeviceGetModuleId(device: nvmlDevice_t, module: *mut u32) => |call| {
        module.put(gpu(call, &device)?.gpu.place as u32 + 1)
    };
    fn nvmlDeviceGetBrand(device: nvmlDevice_t, brand: *mut nvmlBrandType_t) => |call| {
        brand.put(gpu(call, &device)?.gpu.model.brand as u32)
    };
    fn nvmlDeviceGetArchitecture(device: nvmlDevice_t, architecture: *mut nvmlDeviceArchitecture_t) => |call| {
        architecture.put(gpu(call, &device)?.gpu.model.architecture as u32)
    };
    fn nvmlDeviceGetCudaComputeCapability(device: nvmlDevice_t, major: *mut i32, minor: *mut i32) => |call| {
        let capability = gpu(call, &device)?.gpu.model.compute_capability;
        minor.present()?;
        major.put(capability.major.into())?;
        minor.put(capability.minor.into())
    };
    // "On MIG-enabled GPUs … currently not supported", says NVML's documentation.
    fn nvmlDeviceGetNumGpuCores(device: nvmlDevice_t, cores: *mut u32) => |call| {
        let view = gpu(call, &device)?;
        if view.is_mig_enabled() { Err(Code::NOT_SUPPORTED) } else { cores.put(view.gpu.model.cores) }
    };
    fn nvmlDeviceGetBoardId(device: nvmlDevice_t, board: *mut u32) => |call| {
        board.put(u32::from(gpu(call, &device)?.gpu.pci.bus) << 8)
    };
    fn nvmlDeviceGetMultiGpuBoard(device: nvmlDevice_t, multi: *mut u32) => |call| {
        gpu(call, &device)?;
        multi.put(0)
    };
    fn nvmlDeviceGetBoardPartNumber(device: nvmlDevice_t, part: *mut c_char, length: u32) => |call| {
        part.put_text(length, &with_numbers(gpu(call, &device)?)?.gpu.model.part_number)
    };
    fn nvmlDeviceGetVbiosVersion(device: nvmlDevice_t, version: *mut c_char, length: u32) => |call| {
        version.put_text(length, &gpu(call, &device)?.gpu.model.vbios)
    };
    fn nvmlDeviceGetInforomImageVersion(device: nvmlDevice_t, version: *mut c_char, length: u32) => |call| {
        version.put_text(length, &gpu(call, &device)?.gpu.model.inforom)
    };
    fn nvmlDeviceGetBusType(device: nvmlDevice_t, kind: *mut nvmlBusType_t) => |call| {
        gpu(call, &device)?;
        kind.put(BUS_TYPE_PCIE)
    };
    fn nvmlDeviceGetMemoryInfo(device: nvmlDevice_t, memory: *mut nvmlMemory_t) => |call| {
        // The first version counts the reserved part as used.
        let (total, reserved, used) = device_of(call, &device)?.memory();
        let (total, used) = (total.0, used.0 + reserved.0);
        memory.put(nvmlMemory_t { total, free: total - used, used })
    };
    fn nvmlDeviceGetMemoryInfo_v2(device: nvmlDevice_t, memory: *mut nvmlMemory_v2_t) => |call| {
        let version = memory.expect_version(2)?;
        let (total, reserved, used) = device_of(call, &device)?.memory();
        let (total, reserved, used) = (total.0, reserved.0, used.0);
        memory.put(nvmlMemory_v2_t { version, total, reserved, free: total - reserved - used, used })
    };
    fn nvmlDeviceGetBAR1MemoryInfo(device: nvmlDevice_t, memory: *mut nvmlBAR1Memory_t) => |call| {
        let (total, used) = device_of(call, &device)?.bar1();
        let (total, used) = (total.0, used.0);
        if total == 0 {
            return Err(Code::NOT_SUPPORTED);
        }
        memory.put(nvmlBAR1Memory_t { bar1Total: total, bar1Free: total - used, bar1Used: used })
    };
    fn nvmlDeviceGetMemoryBusWidth(device: nvmlDevice_t, bits: *mut u32) => |call| {
        bits.put(gpu(call, &device)?.gpu.model.memory_bus_width)
    };
    fn nvmlDeviceGetPciInfo(device: nvmlDevice_t, info: *mut nvmlPciInfo_t) => |call| {
        info.put_beginning(pci_info(gpu(call, &device)?.gpu), OLD_PCI_INFO_BYTES)
    };
    fn nvmlDeviceGetPciInfo_v2(device: nvmlDevice_t, info: *mut nvmlPciInfo_t) => |call| {
        info.put_beginning(pci_info(gpu(call, &device)?.gpu), OLD_PCI_INFO_BYTES)
    };
    fn nvmlDeviceGetPciInfo_v3(device: nvmlDevice_t, info: *mut nvmlPciInfo_t) => |call| {
        info.put(pci_info(gpu(call, &device)?.gpu))
    };
    fn nvmlDeviceGetIrqNum(device: nvmlDevice_t, irq: *mut u32) => |call| {
        irq.put(gpu(call, &device)?.gpu.place as u32 + 100)
    };
    fn nvmlDeviceGetGspFirmwareVersion(device: nvmlDevice_t, version: *mut c_char) => |call| {
        with_gsp(gpu(call, &device)?)?;
        // The caller's buffer has the 80 bytes of NVML_GSP_FIRMWARE_VERSION_BUF_SIZE.
        version.put_text(80, &call.snapshot()?.node.driver_version)
    };
    fn nvmlDeviceGetGspFirmwareMode(device: nvmlDevice_t, enabled: *mut u32, default: *mut u32) => |call| {
        with_gsp(gpu(call, &device)?)?;
        default.present()?;
        enabled.put(1)?;
        default.put(1)
    };
    fn nvmlDeviceGetPciInfoExt(device: nvmlDevice_t, info: *mut nvmlPciInfoExt_t) => |call| {
        let version = info.expect_version(1)?;
        let view = gpu(call, &device)?;
        let (plain, class) = (pci_info(view.gpu), view.gpu.model.pci_class);
        info.put(nvmlPciInfoExt_t {
            version,
            domain: plain.domain,
            bus: plain.bus,
            device: plain.device,
            pciDeviceId: plain.pciDeviceId,
            pciSubSystemId: plain.pciSubSystemId,
            baseClass: class >> 16,
            subClass: class >> 8 & 0xFF,
            busId: plain.busId,
        })
    };
}
