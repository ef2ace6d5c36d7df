//! Getters that concern the node. Prototypes: NVML's header, as the bindings have it.

use super::{Argument, Argument::*, Getter, Steadiness::*, getters, layouts};
use crate::layout::Kind::*;

getters! { GETTERS:
    Steady nvmlGetExcludedDeviceCount(Out("deviceCount", &U32));
    Steady nvmlGetExcludedDeviceInfoByIndex(Choice(0, 8, 1), Out("info", &Struct(&layouts::EXCLUDED_DEVICE_INFO)));
    Steady nvmlSystemGetConfComputeCapabilities(Out("capabilities", &Struct(&layouts::CONF_COMPUTE_SYSTEM_CAPS)));
    Steady nvmlSystemGetConfComputeGpusReadyState(Out("isAcceptingWork", &U32));
    Steady nvmlSystemGetConfComputeKeyRotationThresholdInfo(Versioned("info", &[(&layouts::CONF_COMPUTE_GET_KEY_ROTATION_THRESHOLD_INFO, 1)]));
    Steady nvmlSystemGetConfComputeSettings(Versioned("settings", &[(&layouts::CONF_COMPUTE_SETTINGS, 1)]));
    Steady nvmlSystemGetConfComputeState(Out("state", &Struct(&layouts::CONF_COMPUTE_SYSTEM_STATE)));
    Steady nvmlSystemGetCudaDriverVersion(Out("cudaDriverVersion", &I32));
    Steady nvmlSystemGetCudaDriverVersion_v2(Out("cudaDriverVersion", &I32));
    Steady nvmlSystemGetDriverBranch(Versioned("branchInfo", &[(&layouts::SYSTEM_DRIVER_BRANCH_INFO, 1)]), Given(80));
    Steady nvmlSystemGetDriverVersion(Text("version", 96));
    Steady nvmlSystemGetHicVersion(List("hwbcEntries", &Struct(&layouts::HWBC_ENTRY), 64));
    Steady nvmlSystemGetNVMLVersion(Text("version", 96));
    Volatile nvmlSystemGetProcessName(Pid, Text("name", 4096));
    Steady nvmlSystemGetNvlinkBwMode(Out("nvlinkBwMode", &U32));
    Steady nvmlSystemGetTopologyGpuSet(Choice(0, 1, 1), List("deviceArray", &Handle, 64));
    Steady nvmlUnitGetCount(Out("unitCount", &U32));
}
