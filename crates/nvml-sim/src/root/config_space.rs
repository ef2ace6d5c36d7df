//! The PCI configuration space of a device, in bytes. It knows PCI's header, and of the capabilities how GPUs and vGPUs
//! list them; what a vGPU's host writes is as NVIDIA's gpu-feature-discovery reads it.

use crate::node_file::{PciConfig, VgpuSection};

/// Ids of a device, as its header has them.
pub struct Ids {
    /// The vendor.
    pub vendor: u16,
    /// The device.
    pub device: u16,
    /// The device of the board.
    pub subsystem: u16,
    /// 24 bits of class.
    pub class: u32,
}

/// All of it, without the extended one of PCI Express.
const BYTES: usize = 256;
/// What a process without CAP_SYS_ADMIN is given of it.
const HEAD_BYTES: usize = 64;

/// In the status register: there are capabilities.
const HAS_CAPABILITIES: u8 = 0x10;

/// Ids of capabilities.
const POWER_MANAGEMENT: u8 = 0x01;
const MSI: u8 = 0x05;
const VENDOR_SPECIFIC: u8 = 0x09;
const EXPRESS: u8 = 0x10;

/// Where GPUs have their capabilities, and how long the vendor's is.
const GPU: [(u8, u8); 4] = [(0x60, POWER_MANAGEMENT), (0x68, MSI), (0x78, EXPRESS), (0xB4, VENDOR_SPECIFIC)];
const GPU_VENDOR_BYTES: u8 = 0x14;
/// Where vGPUs have theirs.
const VGPU: [(u8, u8); 2] = [(0xD0, VENDOR_SPECIFIC), (0x68, MSI)];

/// The longest text in a record of a vGPU's capability.
pub const VGPU_TEXT_BYTES: usize = 10;
/// A vGPU's signature, and the record of the host's driver: id, length with these two bytes, two texts.
const VGPU_SIGNATURE: [u8; 2] = *b"VF";
const HOST_DRIVER: u8 = 0;
const HOST_DRIVER_BYTES: u8 = 2 + 2 * VGPU_TEXT_BYTES as u8;
const VGPU_VENDOR_BYTES: u8 = 5 + HOST_DRIVER_BYTES;

/// The configuration space of a GPU, as far as it is there.
pub fn of_gpu(ids: &Ids, vgpu: Option<&VgpuSection>, readable: PciConfig) -> Option<Vec<u8>> {
    let mut space = header(ids);
    match vgpu {
        None => {
            list(&mut space, &GPU);
            put(&mut space, 0xB4 + 2, &[GPU_VENDOR_BYTES]);
        }
        Some(vgpu) => {
            list(&mut space, &VGPU);
            let mut capability = vec![VGPU_VENDOR_BYTES];
            capability.extend(VGPU_SIGNATURE);
            capability.extend([HOST_DRIVER, HOST_DRIVER_BYTES]);
            for text in [&vgpu.host_version, &vgpu.host_branch] {
                let mut bytes = text.as_bytes().to_vec();
                bytes.resize(VGPU_TEXT_BYTES, 0);
                capability.extend(bytes);
            }
            put(&mut space, 0xD0 + 2, &capability);
        }
    }
    match readable {
        PciConfig::Whole => {}
        PciConfig::Head => space.truncate(HEAD_BYTES),
        PciConfig::Missing => return None,
    }
    Some(space)
}

/// 256 bytes: ids and class, no capabilities.
pub fn header(ids: &Ids) -> Vec<u8> {
    let mut space = vec![0_u8; BYTES];
    put(&mut space, 0x00, &ids.vendor.to_le_bytes());
    put(&mut space, 0x02, &ids.device.to_le_bytes());
    put(&mut space, 0x09, &ids.class.to_le_bytes()[..3]);
    put(&mut space, 0x2C, &ids.vendor.to_le_bytes());
    put(&mut space, 0x2E, &ids.subsystem.to_le_bytes());
    space
}

/// Writes the heads of capabilities, each with the way to the next.
fn list(space: &mut [u8], capabilities: &[(u8, u8)]) {
    put(space, 0x06, &[HAS_CAPABILITIES]);
    let mut way = 0x34;
    for (at, id) in capabilities {
        put(space, way, &[*at]);
        put(space, usize::from(*at), &[*id]);
        way = usize::from(*at) + 1;
    }
}

fn put(space: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = space.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}
