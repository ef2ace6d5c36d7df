//! Confidential computing, which is off on a simulated node.

use nvml_sim::{Architecture, Call, Code};
use nvml_wrapper_sys::bindings::*;

use super::{exports, gpu};

/// `NVML_CC_SYSTEM_GPUS_CC_…`.
const NOT_CAPABLE: u32 = 0;
const CAPABLE: u32 = 1;
/// `NVML_CC_SYSTEM_…`: no CPU capability, no environment, the feature and the tools' mode off, no mode of several GPUs.
const NONE: u32 = 0;
/// `NVML_CC_ACCEPTING_CLIENT_REQUESTS_FALSE`.
const NOT_ACCEPTING: u32 = 0;

/// Whether some GPU of the node is of an architecture or newer; NVML's documentation says from which on it is supported.
fn since(call: &Call<'_>, architecture: Architecture) -> Result<(), Code> {
    let has = call.snapshot()?.node.gpus.iter().any(|gpu| gpu.model.architecture >= architecture);
    if has { Ok(()) } else { Err(Code::NOT_SUPPORTED) }
}

exports! {
    fn nvmlSystemGetConfComputeCapabilities(capabilities: *mut nvmlConfComputeSystemCaps_t) => |call| {
        capabilities.present()?;
        since(call, Architecture::Ampere)?;
        let capable = call.snapshot()?.node.gpus.iter().all(|gpu| gpu.model.architecture >= Architecture::Hopper);
        let gpus = if capable { CAPABLE } else { NOT_CAPABLE };
        capabilities.put(nvmlConfComputeSystemCaps_t { cpuCaps: NONE, gpusCaps: gpus })
    };
    fn nvmlSystemGetConfComputeState(state: *mut nvmlConfComputeSystemState_t) => |call| {
        state.present()?;
        since(call, Architecture::Ampere)?;
        state.put(nvmlConfComputeSystemState_t { environment: NONE, ccFeature: NONE, devToolsMode: NONE })
    };
    fn nvmlSystemGetConfComputeGpusReadyState(accepting: *mut u32) => |call| {
        accepting.present()?;
        since(call, Architecture::Ampere)?;
        accepting.put(NOT_ACCEPTING)
    };
    fn nvmlSystemGetConfComputeSettings(settings: *mut nvmlSystemConfComputeSettings_t) => |call| {
        let version = settings.expect_version(1)?;
        since(call, Architecture::Hopper)?;
        settings.put(nvmlSystemConfComputeSettings_t {
            version,
            environment: NONE,
            ccFeature: NONE,
            devToolsMode: NONE,
            multiGpuMode: NONE,
        })
    };
    // With the feature off no memory is protected.
    fn nvmlDeviceGetConfComputeMemSizeInfo(device: nvmlDevice_t, info: *mut nvmlConfComputeMemSizeInfo_t) => |call| {
        let view = gpu(call, &device)?;
        info.present()?;
        since_of(view.gpu, Architecture::Ampere)?;
        info.put(nvmlConfComputeMemSizeInfo_t {
            protectedMemSizeKib: 0,
            unprotectedMemSizeKib: view.gpu.model.memory.0 >> 10,
        })
    };
    fn nvmlDeviceGetConfComputeProtectedMemoryUsage(device: nvmlDevice_t, memory: *mut nvmlMemory_t) => |call| {
        let view = gpu(call, &device)?;
        memory.present()?;
        since_of(view.gpu, Architecture::Ampere)?;
        memory.put(nvmlMemory_t { total: 0, free: 0, used: 0 })
    };
}

fn since_of(gpu: &nvml_sim::Gpu, architecture: Architecture) -> Result<(), Code> {
    if gpu.model.architecture >= architecture { Ok(()) } else { Err(Code::NOT_SUPPORTED) }
}
