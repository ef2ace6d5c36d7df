//! Functions beside the getters, laid out as those are, for the misuse of simulated libraries alone: they change something,
//! or mean something only to who knows the node. A struct that goes in is all zeros but for its version word.

use nvml_wrapper_sys::bindings::*;

use super::{Argument, Argument::*, Getter, Steadiness::*, functions, layouts};
use crate::layout::{Kind::*, Layout};

/// A struct of which nothing is read but its version word.
const fn sealed<T>() -> Layout {
    Layout { size: size_of::<T>(), members: &[] }
}

static POWER_VALUE: Layout = sealed::<nvmlPowerValue_v2_t>();
static REQUESTED_PROFILES: Layout = sealed::<nvmlWorkloadPowerProfileRequestedProfiles_t>();
static SET_BW_MODE: Layout = sealed::<nvmlNvlinkSetBwMode_v1_t>();
static SYSTEM_EVENTS: Layout = sealed::<nvmlSystemRegisterEventRequest_v1_t>();
static SYSTEM_SET: Layout = sealed::<nvmlSystemEventSetCreateRequest_v1_t>();
static SYSTEM_SET_FREE: Layout = sealed::<nvmlSystemEventSetFreeRequest_v1_t>();
static SYSTEM_WAIT: Layout = sealed::<nvmlSystemEventSetWaitRequest_v1_t>();
static UUID: Layout = sealed::<nvmlUUID_t>();

functions! { FUNCTIONS:
    Volatile nvmlDeviceClearAccountingPids(Gpu);
    Volatile nvmlDeviceClearCpuAffinity(Gpu);
    Volatile nvmlDeviceClearEccErrorCounts(Gpu, Choice(0, 3, 1));
    Volatile nvmlDeviceClearFieldValues(Gpu, Fields);
    Volatile nvmlDeviceDiscoverGpus(Out("pciInfo", &Struct(&layouts::PCI_INFO)));
    Volatile nvmlDeviceGetAccountingStats(Gpu, Pid, Out("stats", &Bytes(size_of::<nvmlAccountingStats_t>())));
    Volatile nvmlDeviceGetGridLicensableFeatures(Gpu, Out("features", &Bytes(size_of::<nvmlGridLicensableFeatures_t>())));
    Volatile nvmlDeviceGetGridLicensableFeatures_v2(Gpu, Out("features", &Bytes(size_of::<nvmlGridLicensableFeatures_t>())));
    Volatile nvmlDeviceGetGridLicensableFeatures_v3(Gpu, Out("features", &Bytes(size_of::<nvmlGridLicensableFeatures_t>())));
    Volatile nvmlDeviceGetGridLicensableFeatures_v4(Gpu, Out("features", &Bytes(size_of::<nvmlGridLicensableFeatures_t>())));
    Volatile nvmlDeviceGetHandleByUUIDV(Versioned("uuid", &[(&UUID, 1)]), Out("device", &Handle));
    // The steps are such that memory clocks of several GPUs are met.
    Volatile nvmlDeviceGetSupportedGraphicsClocks(Gpu, Choice(0, 6912, 27), List("clocksMHz", &U32, 256));
    Volatile nvmlDeviceModifyDrainState(Out("pciInfo", &Struct(&layouts::PCI_INFO)), Choice(0, 3, 1));
    Volatile nvmlDeviceQueryDrainState(Out("pciInfo", &Struct(&layouts::PCI_INFO)), Out("currentState", &U32));
    Volatile nvmlDeviceRegisterEvents(Gpu, Choice(0, 16, 1), Given(0));
    Volatile nvmlDeviceRemoveGpu(Out("pciInfo", &Struct(&layouts::PCI_INFO)));
    Volatile nvmlDeviceRemoveGpu_v2(Out("pciInfo", &Struct(&layouts::PCI_INFO)), Choice(0, 3, 1), Choice(0, 3, 1));
    Volatile nvmlDeviceResetApplicationsClocks(Gpu);
    Volatile nvmlDeviceResetGpuLockedClocks(Gpu);
    Volatile nvmlDeviceResetMemoryLockedClocks(Gpu);
    Volatile nvmlDeviceResetNvLinkErrorCounters(Gpu, Choice(0, 20, 1));
    Volatile nvmlDeviceSetAPIRestriction(Gpu, Choice(0, 2, 1), Choice(0, 2, 1));
    Volatile nvmlDeviceSetAccountingMode(Gpu, Choice(0, 3, 1));
    Volatile nvmlDeviceSetApplicationsClocks(Gpu, Choice(0, 6912, 27), Choice(0, 3840, 15));
    Volatile nvmlDeviceSetClockOffsets(Gpu, Versioned("info", &[(&layouts::CLOCK_OFFSET, 1)]));
    Volatile nvmlDeviceSetComputeMode(Gpu, Choice(0, 5, 1));
    Volatile nvmlDeviceSetCpuAffinity(Gpu);
    Volatile nvmlDeviceSetDefaultFanSpeed_v2(Gpu, Choice(0, 3, 1));
    Volatile nvmlDeviceSetEccMode(Gpu, Choice(0, 3, 1));
    Volatile nvmlDeviceSetFanControlPolicy(Gpu, Choice(0, 3, 1), Choice(0, 3, 1));
    Volatile nvmlDeviceSetFanSpeed_v2(Gpu, Choice(0, 3, 1), Choice(0, 120, 1));
    Volatile nvmlDeviceSetGpcClkVfOffset(Gpu, Choice(0, 256, 1));
    Volatile nvmlDeviceSetGpuLockedClocks(Gpu, Choice(0, 3840, 15), Choice(0, 3840, 15));
    Volatile nvmlDeviceSetMemClkVfOffset(Gpu, Choice(0, 256, 1));
    Volatile nvmlDeviceSetMemoryLockedClocks(Gpu, Choice(0, 6912, 27), Choice(0, 6912, 27));
    Volatile nvmlDeviceSetNvLinkDeviceLowPowerThreshold(Gpu, Out("info", &Bytes(size_of::<nvmlNvLinkPowerThres_t>())));
    Volatile nvmlDeviceSetNvlinkBwMode(Gpu, Versioned("setBwMode", &[(&SET_BW_MODE, 1)]));
    Volatile nvmlDeviceSetPersistenceMode(Gpu, Choice(0, 3, 1));
    Volatile nvmlDeviceSetPowerManagementLimit(Gpu, Choice(0, 1_024_000, 4000));
    Volatile nvmlDeviceSetPowerManagementLimit_v2(Gpu, Versioned("powerValue", &[(&POWER_VALUE, 2)]));
    Volatile nvmlDeviceSetPowerMizerMode_v1(Gpu, Out("powerMizerMode", &Struct(&layouts::DEVICE_POWER_MIZER_MODES_V1)));
    Volatile nvmlDeviceSetTemperatureThreshold(Gpu, Choice(0, 9, 1), Out("temp", &I32));
    Volatile nvmlDeviceValidateInforom(Gpu);
    Volatile nvmlDeviceWorkloadPowerProfileClearRequestedProfiles(Gpu, Versioned("requestedProfiles", &[(&REQUESTED_PROFILES, 1)]));
    Volatile nvmlDeviceWorkloadPowerProfileSetRequestedProfiles(Gpu, Versioned("requestedProfiles", &[(&REQUESTED_PROFILES, 1)]));
    Volatile nvmlGpmMetricsGet(Out("metricsGet", &Bytes(size_of::<nvmlGpmMetricsGet_t>())));
    Volatile nvmlGpmMigSampleGet(Gpu, Choice(0, 8, 1), Given(0));
    Volatile nvmlGpmSampleFree(Given(0));
    Volatile nvmlGpmSampleGet(Gpu, Given(0));
    Volatile nvmlGpmSetStreamingEnabled(Gpu, Choice(0, 3, 1));
    Volatile nvmlSystemEventSetCreate(Versioned("request", &[(&SYSTEM_SET, 1)]));
    Volatile nvmlSystemEventSetFree(Versioned("request", &[(&SYSTEM_SET_FREE, 1)]));
    Volatile nvmlSystemEventSetWait(Versioned("request", &[(&SYSTEM_WAIT, 1)]));
    Volatile nvmlSystemRegisterEvents(Versioned("request", &[(&SYSTEM_EVENTS, 1)]));
    Volatile nvmlSystemSetNvlinkBwMode(Choice(0, 6, 1));
    Volatile nvmlUnitGetDevices(Given(0), List("devices", &Handle, 4));
    Volatile nvmlUnitGetFanSpeedInfo(Given(0), Out("fanSpeeds", &Bytes(size_of::<nvmlUnitFanSpeeds_t>())));
    Volatile nvmlUnitGetHandleByIndex(Choice(0, 2, 1), Out("unit", &Handle));
    Volatile nvmlUnitGetLedState(Given(0), Out("state", &Bytes(size_of::<nvmlLedState_t>())));
    Volatile nvmlUnitGetPsuInfo(Given(0), Out("psu", &Bytes(size_of::<nvmlPSUInfo_t>())));
    Volatile nvmlUnitGetTemperature(Given(0), Choice(0, 3, 1), Out("temp", &U32));
    Volatile nvmlUnitGetUnitInfo(Given(0), Out("info", &Bytes(size_of::<nvmlUnitInfo_t>())));
    Volatile nvmlUnitSetLedState(Given(0), Choice(0, 2, 1));
}

/// Functions of NVML 13.3 that the bindings do not know yet, each with a GPU and one struct.
pub static NEWER: &[Getter] = &[
    newer("nvmlDeviceGetAccountingStats_v2", &[Gpu, Out("stats", &Bytes(64))]),
    newer("nvmlDeviceSetHostname_v1", &[Gpu, Out("hostname", &Struct(&layouts::HOSTNAME))]),
    newer("nvmlDeviceWorkloadPowerProfileUpdateProfiles_v1", &[Gpu, Out("updateProfiles", &Bytes(36))]),
];

const fn newer(name: &'static str, arguments: &'static [Argument]) -> Getter {
    Getter { name, steadiness: Volatile, arguments }
}
