//! The NVLink fabric of a GPU.

use nvml_sim::Code;
use nvml_wrapper_sys::bindings::*;

use super::{exports, gpu};

/// `nvmlGpuFabricInfo_v2_t` ends before the health summary.
const FABRIC_INFO_V2_BYTES: usize = size_of::<nvmlGpuFabricInfo_v2_t>();

exports! {
    fn nvmlDeviceGetGpuFabricInfo(device: nvmlDevice_t, info: *mut nvmlGpuFabricInfo_t) => |call| {
        let fabric = gpu(call, &device)?.fabric()?;
        info.put(nvmlGpuFabricInfo_t {
            clusterUuid: fabric.cluster_uuid,
            status: fabric.status,
            cliqueId: fabric.clique,
            state: fabric.state,
        })
    };
    fn nvmlDeviceGetGpuFabricInfoV(device: nvmlDevice_t, info: *mut nvmlGpuFabricInfoV_t) => |call| {
        let version = info.version()?;
        let bytes = match version >> 24 {
            2 => FABRIC_INFO_V2_BYTES,
            3 => size_of::<nvmlGpuFabricInfo_v3_t>(),
            _ => return Err(Code::ARGUMENT_VERSION_MISMATCH),
        };
        if version & 0xFF_FFFF != bytes as u32 {
            return Err(Code::ARGUMENT_VERSION_MISMATCH);
        }
        let fabric = gpu(call, &device)?.fabric()?;
        let whole = nvmlGpuFabricInfo_v3_t {
            version,
            clusterUuid: fabric.cluster_uuid,
            status: fabric.status,
            cliqueId: fabric.clique,
            state: fabric.state,
            healthMask: fabric.health_mask,
            healthSummary: fabric.health_summary,
        };
        info.put_beginning(whole, bytes)
    };
}
