//! Getters of MIG: modes, profiles, places, instances. Prototypes: NVML's header, as the bindings have it.

use super::{Argument, Argument::*, Getter, Steadiness::*, getters, layouts};
use crate::layout::Kind::*;

getters! { GETTERS:
    Steady nvmlComputeInstanceGetInfo(ComputeInstance, Out("info", &Struct(&layouts::COMPUTE_INSTANCE_INFO)));
    Steady nvmlComputeInstanceGetInfo_v2(ComputeInstance, Out("info", &Struct(&layouts::COMPUTE_INSTANCE_INFO)));
    Steady nvmlDeviceGetAttributes(Gpu, Out("attributes", &Struct(&layouts::DEVICE_ATTRIBUTES)));
    Steady nvmlDeviceGetAttributes_v2(Gpu, Out("attributes", &Struct(&layouts::DEVICE_ATTRIBUTES)));
    Steady nvmlDeviceGetComputeInstanceId(Gpu, Out("id", &U32));
    Steady nvmlDeviceGetDeviceHandleFromMigDeviceHandle(Gpu, Out("device", &Handle));
    Steady nvmlDeviceGetGpuInstanceById(Gpu, Choice(0, 15, 1), Out("gpuInstance", &Handle));
    Steady nvmlDeviceGetGpuInstanceId(Gpu, Out("id", &U32));
    Steady nvmlDeviceGetGpuInstancePossiblePlacements(Gpu, Choice(0, 128, 1), ListBefore("placements", &Struct(&layouts::GPU_INSTANCE_PLACEMENT), 64));
    Steady nvmlDeviceGetGpuInstancePossiblePlacements_v2(Gpu, Choice(0, 128, 1), ListBefore("placements", &Struct(&layouts::GPU_INSTANCE_PLACEMENT), 64));
    Steady nvmlDeviceGetGpuInstanceProfileInfo(Gpu, Choice(0, 18, 1), Out("info", &Struct(&layouts::GPU_INSTANCE_PROFILE_INFO)));
    Steady nvmlDeviceGetGpuInstanceProfileInfoByIdV(Gpu, Choice(0, 128, 1), Versioned("info", &[(&layouts::GPU_INSTANCE_PROFILE_INFO_V3, 3), (&layouts::GPU_INSTANCE_PROFILE_INFO_V2, 2)]));
    Steady nvmlDeviceGetGpuInstanceProfileInfoV(Gpu, Choice(0, 18, 1), Versioned("info", &[(&layouts::GPU_INSTANCE_PROFILE_INFO_V3, 3), (&layouts::GPU_INSTANCE_PROFILE_INFO_V2, 2)]));
    Volatile nvmlDeviceGetGpuInstanceRemainingCapacity(Gpu, Choice(0, 128, 1), Out("count", &U32));
    Steady nvmlDeviceGetGpuInstances(Gpu, Choice(0, 128, 1), ListBefore("gpuInstances", &Handle, 64));
    Steady nvmlDeviceGetMaxMigDeviceCount(Gpu, Out("count", &U32));
    Steady nvmlDeviceGetMigDeviceHandleByIndex(Gpu, Choice(0, 8, 1), Out("migDevice", &Handle));
    Steady nvmlDeviceGetMigMode(Gpu, Out("currentMode", &U32), Out("pendingMode", &U32));
    Steady nvmlDeviceIsMigDeviceHandle(Gpu, Out("isMigDevice", &U32));
    Steady nvmlGpuInstanceGetComputeInstanceById(GpuInstance, Choice(0, 8, 1), Out("computeInstance", &Handle));
    Steady nvmlGpuInstanceGetComputeInstancePossiblePlacements(GpuInstance, Choice(0, 16, 1), ListBefore("placements", &Struct(&layouts::COMPUTE_INSTANCE_PLACEMENT), 64));
    Steady nvmlGpuInstanceGetComputeInstanceProfileInfo(GpuInstance, Choice(0, 9, 1), Choice(0, 1, 1), Out("info", &Struct(&layouts::COMPUTE_INSTANCE_PROFILE_INFO)));
    Steady nvmlGpuInstanceGetComputeInstanceProfileInfoV(GpuInstance, Choice(0, 9, 1), Choice(0, 1, 1), Versioned("info", &[(&layouts::COMPUTE_INSTANCE_PROFILE_INFO_V3, 3), (&layouts::COMPUTE_INSTANCE_PROFILE_INFO_V2, 2)]));
    Volatile nvmlGpuInstanceGetComputeInstanceRemainingCapacity(GpuInstance, Choice(0, 16, 1), Out("count", &U32));
    Steady nvmlGpuInstanceGetComputeInstances(GpuInstance, Choice(0, 16, 1), ListBefore("computeInstances", &Handle, 64));
    Steady nvmlGpuInstanceGetInfo(GpuInstance, Out("info", &Struct(&layouts::GPU_INSTANCE_INFO)));
}
