//! The structs that getters fill. Sizes and offsets are those of the bindings, which are generated from NVML's header;
//! version words are left out, since they are asked for and not answered.

use std::mem::offset_of;

use nvml_wrapper_sys::bindings::*;

use crate::layout::{Kind, Kind::*, Layout, Member};

macro_rules! layouts {
    ($($name:ident = $type:ident { $($member:ident: $kind:expr),* };)*) => {$(
        #[doc = concat!("`", stringify!($type), "`.")]
        pub static $name: Layout = Layout {
            size: size_of::<$type>(),
            members: &[$(Member { name: stringify!($member), at: offset_of!($type, $member), kind: $kind }),*],
        };
    )*};
}

layouts! {
    COMPUTE_INSTANCE_PLACEMENT = nvmlComputeInstancePlacement_t { start: U32, size: U32 };
    COMPUTE_INSTANCE_INFO = nvmlComputeInstanceInfo_t { device: Handle, gpuInstance: Handle, id: U32, profileId: U32, placement: Struct(&COMPUTE_INSTANCE_PLACEMENT) };
    DEVICE_ADDRESSING_MODE = nvmlDeviceAddressingMode_t { value: U32 };
    DEVICE_ATTRIBUTES = nvmlDeviceAttributes_t { multiprocessorCount: U32, sharedCopyEngineCount: U32, sharedDecoderCount: U32, sharedEncoderCount: U32, sharedJpegCount: U32, sharedOfaCount: U32, gpuInstanceSliceCount: U32, computeInstanceSliceCount: U32, memorySizeMB: U64 };
    BAR1_MEMORY = nvmlBAR1Memory_t { bar1Total: U64, bar1Free: U64, bar1Used: U64 };
    BRIDGE_CHIP_INFO = nvmlBridgeChipInfo_t { type_: U32, fwVersion: U32 };
    BRIDGE_CHIP_HIERARCHY = nvmlBridgeChipHierarchy_t { bridgeCount: U8, bridgeChipInfo: Array(&Struct(&BRIDGE_CHIP_INFO), 128) };
    C2C_MODE_INFO_V1 = nvmlC2cModeInfo_v1_t { isC2cEnabled: U32 };
    DEVICE_CAPABILITIES = nvmlDeviceCapabilities_t { capMask: U32 };
    CLK_MON_FAULT_INFO = nvmlClkMonFaultInfo_t { clkApiDomain: U32, clkDomainFaultMask: U32 };
    CLK_MON_STATUS = nvmlClkMonStatus_t { bGlobalStatus: U32, clkMonListSize: U32, clkMonList: Array(&Struct(&CLK_MON_FAULT_INFO), 32) };
    CLOCK_OFFSET = nvmlClockOffset_t { type_: U32, pstate: U32, clockOffsetMHz: I32, minClockOffsetMHz: I32, maxClockOffsetMHz: I32 };
    PROCESS_INFO_V1 = nvmlProcessInfo_v1_t { pid: U32, usedGpuMemory: U64 };
    PROCESS_INFO_V2 = nvmlProcessInfo_v2_t { pid: U32, usedGpuMemory: U64, gpuInstanceId: U32, computeInstanceId: U32 };
    PROCESS_INFO = nvmlProcessInfo_t { pid: U32, usedGpuMemory: U64, gpuInstanceId: U32, computeInstanceId: U32 };
    CONF_COMPUTE_MEM_SIZE_INFO = nvmlConfComputeMemSizeInfo_t { protectedMemSizeKib: U64, unprotectedMemSizeKib: U64 };
    MEMORY = nvmlMemory_t { total: U64, free: U64, used: U64 };
    COOLER_INFO = nvmlCoolerInfo_t { index: U32, signalType: U32, target: U32 };
    DEVICE_CURRENT_CLOCK_FREQS = nvmlDeviceCurrentClockFreqs_t { str_: Chars(2048) };
    ECC_ERROR_COUNTS = nvmlEccErrorCounts_t { l1Cache: U64, l2Cache: U64, deviceMemory: U64, registerFile: U64 };
    DRAM_ENCRYPTION_INFO = nvmlDramEncryptionInfo_t { encryptionState: U32 };
    GPU_DYNAMIC_PSTATE = nvmlGpuDynamicPstatesInfo_st__bindgen_ty_1 { bIsPresent: U32, percentage: U32, incThreshold: U32, decThreshold: U32 };
    GPU_DYNAMIC_PSTATES_INFO = nvmlGpuDynamicPstatesInfo_t { flags: U32, utilization: Array(&Struct(&GPU_DYNAMIC_PSTATE), 8) };
    ENCODER_SESSION_INFO = nvmlEncoderSessionInfo_t { sessionId: U32, pid: U32, vgpuInstance: U32, codecType: U32, hResolution: U32, vResolution: U32, averageFps: U32, averageLatency: U32 };
    FBC_SESSION_INFO = nvmlFBCSessionInfo_t { sessionId: U32, pid: U32, vgpuInstance: U32, displayOrdinal: U32, sessionType: U32, sessionFlags: U32, hMaxResolution: U32, vMaxResolution: U32, hResolution: U32, vResolution: U32, averageFPS: U32, averageLatency: U32 };
    FBC_STATS = nvmlFBCStats_t { sessionsCount: U32, averageFPS: U32, averageLatency: U32 };
    FAN_SPEED_INFO = nvmlFanSpeedInfo_t { fan: U32, speed: U32 };
    GPU_FABRIC_INFO = nvmlGpuFabricInfo_t { clusterUuid: Bytes(16), status: U32, cliqueId: U32, state: U8 };
    GPU_FABRIC_INFO_V = nvmlGpuFabricInfoV_t { clusterUuid: Bytes(16), status: U32, cliqueId: U32, state: U8, healthMask: U32, healthSummary: U8 };
    GPU_FABRIC_INFO_V2 = nvmlGpuFabricInfo_v2_t { clusterUuid: Bytes(16), status: U32, cliqueId: U32, state: U8, healthMask: U32 };
    GPU_INSTANCE_PLACEMENT = nvmlGpuInstancePlacement_t { start: U32, size: U32 };
    GPU_INSTANCE_PROFILE_INFO = nvmlGpuInstanceProfileInfo_t { id: U32, isP2pSupported: U32, sliceCount: U32, instanceCount: U32, multiprocessorCount: U32, copyEngineCount: U32, decoderCount: U32, encoderCount: U32, jpegCount: U32, ofaCount: U32, memorySizeMB: U64 };
    GPU_INSTANCE_PROFILE_INFO_V2 = nvmlGpuInstanceProfileInfo_v2_t { id: U32, isP2pSupported: U32, sliceCount: U32, instanceCount: U32, multiprocessorCount: U32, copyEngineCount: U32, decoderCount: U32, encoderCount: U32, jpegCount: U32, ofaCount: U32, memorySizeMB: U64, name: Chars(96) };
    GPU_INSTANCE_PROFILE_INFO_V3 = nvmlGpuInstanceProfileInfo_v3_t { id: U32, sliceCount: U32, instanceCount: U32, multiprocessorCount: U32, copyEngineCount: U32, decoderCount: U32, encoderCount: U32, jpegCount: U32, ofaCount: U32, memorySizeMB: U64, name: Chars(96), capabilities: U32 };
    MARGIN_TEMPERATURE = nvmlMarginTemperature_t { marginTemperature: I32 };
    MEMORY_V2 = nvmlMemory_v2_t { total: U64, reserved: U64, free: U64, used: U64 };
    NVLINK_FIRMWARE_VERSION = nvmlNvlinkFirmwareVersion_t { ucodeType: U8, major: U32, minor: U32, subMinor: U32 };
    NVLINK_FIRMWARE_INFO = nvmlNvlinkFirmwareInfo_t { firmwareVersion: Array(&Struct(&NVLINK_FIRMWARE_VERSION), 100), numValidEntries: U32 };
    NV_LINK_INFO = nvmlNvLinkInfo_t { isNvleEnabled: U32, firmwareInfo: Struct(&NVLINK_FIRMWARE_INFO) };
    PCI_INFO = nvmlPciInfo_t { busIdLegacy: Chars(16), domain: U32, bus: U32, device: U32, pciDeviceId: U32, pciSubSystemId: U32, busId: Chars(32) };
    NV_LINK_UTILIZATION_CONTROL = nvmlNvLinkUtilizationControl_t { units: U32, pktfilter: U32 };
    NVLINK_GET_BW_MODE = nvmlNvlinkGetBwMode_t { bIsBest: U32, bwMode: U8 };
    NVLINK_SUPPORTED_BW_MODES = nvmlNvlinkSupportedBwModes_t { bwModes: Bytes(23), totalBwModes: U8 };
    PCI_INFO_EXT = nvmlPciInfoExt_t { domain: U32, bus: U32, device: U32, pciDeviceId: U32, pciSubSystemId: U32, baseClass: U32, subClass: U32, busId: Chars(32) };
    PDI = nvmlPdi_t { value: U64 };
    DEVICE_PERF_MODES = nvmlDevicePerfModes_t { str_: Chars(2048) };
    PLATFORM_INFO = nvmlPlatformInfo_t { ibGuid: Bytes(16), chassisSerialNumber: Bytes(16), slotNumber: U8, trayIndex: U8, hostId: U8, peerType: U8, moduleId: U8 };
    DEVICE_POWER_MIZER_MODES_V1 = nvmlDevicePowerMizerModes_v1_t { currentMode: U32, mode: U32, supportedPowerMizerModes: U32 };
    PROCESS_UTILIZATION_SAMPLE = nvmlProcessUtilizationSample_t { pid: U32, timeStamp: U64, smUtil: U32, memUtil: U32, encUtil: U32, decUtil: U32 };
    PROCESSES_UTILIZATION_INFO = nvmlProcessesUtilizationInfo_t { processSamplesCount: U32, lastSeenTimeStamp: U64, procUtilArray: Handle };
    REPAIR_STATUS = nvmlRepairStatus_t { bChannelRepairPending: U32, bTpcRepairPending: U32 };
    ROW_REMAPPER_HISTOGRAM_VALUES = nvmlRowRemapperHistogramValues_t { max: U32, high: U32, partial: U32, low: U32, none: U32 };
    PROCESS_DETAIL_LIST = nvmlProcessDetailList_t { mode: U32, numProcArrayEntries: U32, procArray: Handle };
    SAMPLE = nvmlSample_t { timeStamp: U64, sampleValue: U64 };
    ECC_SRAM_ERROR_STATUS = nvmlEccSramErrorStatus_t { aggregateUncParity: U64, aggregateUncSecDed: U64, aggregateCor: U64, volatileUncParity: U64, volatileUncSecDed: U64, volatileCor: U64, aggregateUncBucketL2: U64, aggregateUncBucketSm: U64, aggregateUncBucketPcie: U64, aggregateUncBucketMcu: U64, aggregateUncBucketOther: U64, bThresholdExceeded: U32 };
    ECC_SRAM_UNIQUE_UNCORRECTED_ERROR_COUNTS = nvmlEccSramUniqueUncorrectedErrorCounts_t { entryCount: U32, entries: Handle };
    TEMPERATURE = nvmlTemperature_t { sensorType: U32, temperature: I32 };
    THERMAL_SENSOR = nvmlGpuThermalSettings_t__bindgen_ty_1 { controller: I32, defaultMinTemp: I32, defaultMaxTemp: I32, currentTemp: I32, target: I32 };
    GPU_THERMAL_SETTINGS = nvmlGpuThermalSettings_t { count: U32, sensor: Array(&Struct(&THERMAL_SENSOR), 3) };
    UTILIZATION = nvmlUtilization_t { gpu: U32, memory: U32 };
    VIOLATION_TIME = nvmlViolationTime_t { referenceTime: U64, violationTime: U64 };
    MASK255 = nvmlMask255_t { mask: Array(&U32, 8) };
    WORKLOAD_POWER_PROFILE_CURRENT_PROFILES = nvmlWorkloadPowerProfileCurrentProfiles_t { perfProfilesMask: Struct(&MASK255), requestedProfilesMask: Struct(&MASK255), enforcedProfilesMask: Struct(&MASK255) };
    WORKLOAD_POWER_PROFILE_INFO = nvmlWorkloadPowerProfileInfo_t { profileId: U32, priority: U32, conflictingMask: Struct(&MASK255) };
    WORKLOAD_POWER_PROFILE_PROFILES_INFO = nvmlWorkloadPowerProfileProfilesInfo_t { perfProfilesMask: Struct(&MASK255), perfProfile: Array(&Struct(&WORKLOAD_POWER_PROFILE_INFO), 255) };
    EXCLUDED_DEVICE_INFO = nvmlExcludedDeviceInfo_t { pciInfo: Struct(&PCI_INFO), uuid: Chars(80) };
    GPM_SUPPORT = nvmlGpmSupport_t { isSupportedDevice: U32 };
    COMPUTE_INSTANCE_PROFILE_INFO = nvmlComputeInstanceProfileInfo_t { id: U32, sliceCount: U32, instanceCount: U32, multiprocessorCount: U32, sharedCopyEngineCount: U32, sharedDecoderCount: U32, sharedEncoderCount: U32, sharedJpegCount: U32, sharedOfaCount: U32 };
    COMPUTE_INSTANCE_PROFILE_INFO_V2 = nvmlComputeInstanceProfileInfo_v2_t { id: U32, sliceCount: U32, instanceCount: U32, multiprocessorCount: U32, sharedCopyEngineCount: U32, sharedDecoderCount: U32, sharedEncoderCount: U32, sharedJpegCount: U32, sharedOfaCount: U32, name: Chars(96) };
    COMPUTE_INSTANCE_PROFILE_INFO_V3 = nvmlComputeInstanceProfileInfo_v3_t { id: U32, sliceCount: U32, instanceCount: U32, multiprocessorCount: U32, sharedCopyEngineCount: U32, sharedDecoderCount: U32, sharedEncoderCount: U32, sharedJpegCount: U32, sharedOfaCount: U32, name: Chars(96), capabilities: U32 };
    GPU_INSTANCE_INFO = nvmlGpuInstanceInfo_t { device: Handle, id: U32, profileId: U32, placement: Struct(&GPU_INSTANCE_PLACEMENT) };
    CONF_COMPUTE_SYSTEM_CAPS = nvmlConfComputeSystemCaps_t { cpuCaps: U32, gpusCaps: U32 };
    CONF_COMPUTE_GET_KEY_ROTATION_THRESHOLD_INFO = nvmlConfComputeGetKeyRotationThresholdInfo_t { attackerAdvantage: U64 };
    CONF_COMPUTE_SETTINGS = nvmlSystemConfComputeSettings_t { environment: U32, ccFeature: U32, devToolsMode: U32, multiGpuMode: U32 };
    CONF_COMPUTE_SYSTEM_STATE = nvmlConfComputeSystemState_t { environment: U32, ccFeature: U32, devToolsMode: U32 };
    SYSTEM_DRIVER_BRANCH_INFO = nvmlSystemDriverBranchInfo_t { branch: Chars(80) };
    HWBC_ENTRY = nvmlHwbcEntry_t { hwbcId: U32, firmwareVersion: Chars(32) };
}

/// `nvmlBBXTimeData_v1_t`: 4 bytes in the header of 13.3, as the three below.
pub static BBX_TIME_DATA: Layout = newer(4, &[member("timeRun", 0, U32)]);
/// `nvmlHostname_v1_t`.
pub static HOSTNAME: Layout = newer(64, &[member("value", 0, Chars(64))]);
/// `nvmlRemappedRowsInfo_v2_t`.
pub static REMAPPED_ROWS_INFO_V2: Layout = newer(
    24,
    &[
        member("corrActiveRemaps", 0, U32),
        member("corrInactiveRemaps", 4, U32),
        member("uncActiveRemaps", 8, U32),
        member("uncInactiveRemaps", 12, U32),
        member("bPending", 16, U32),
        member("bFailureOccurred", 20, U32),
    ],
);
/// `nvmlUnrepairableMemoryStatus_v1_t`.
pub static UNREPAIRABLE_MEMORY_STATUS: Layout = newer(4, &[member("bUnrepairableMemory", 0, U32)]);

const fn newer(size: usize, members: &'static [Member]) -> Layout {
    Layout { size, members }
}

const fn member(name: &'static str, at: usize, kind: Kind) -> Member {
    Member { name, at, kind }
}
