//! Why functions refuse, as NVIDIA's documentation has it: "NVML" names the NVML API reference of 13.3, whose text
//! stands in its header too. It knows names, not who asks.

/// Why some functions refuse.
#[derive(Clone, Copy, Debug)]
pub struct Reason {
    /// The functions; `*` stands for any text.
    pub functions: &'static [&'static str],
    /// Why a simulated GPU does not support them.
    pub why: &'static str,
    /// Where NVIDIA says so.
    pub documented: &'static str,
}

/// Every reason.
pub const REASONS: &[Reason] = &[
    Reason {
        functions: &[
            "nvmlVgpu*",
            "nvmlDevice*Vgpu*",
            "nvmlGpuInstance*Vgpu*",
            "nvmlGetVgpu*",
            "nvmlSetVgpuVersion",
            "nvmlDeviceGetPgpuMetadataString",
            "nvmlDeviceSetVirtualizationMode",
        ],
        why: "the driver of a simulated node is that of a bare machine, and no host of vGPUs",
        documented: "NVML, vGPU Management: not supported in the current state, or where the device is not in vGPU mode",
    },
    Reason {
        functions: &["nvmlDeviceGetBridgeChipInfo"],
        why: "no board of the presets holds more than one GPU",
        documented: "NVML, nvmlDeviceGetBridgeChipInfo: only applicable to multi-GPU products",
    },
    Reason {
        functions: &["nvmlDeviceGetDriverModel*", "nvmlDeviceSetDriverModel"],
        why: "the node runs Linux",
        documented: "NVML, nvmlDeviceGetDriverModel_v2: not supported if the platform is not Windows",
    },
    Reason {
        functions: &["nvmlDeviceGetGpuOperationMode", "nvmlDeviceSetGpuOperationMode"],
        why: "operation modes ended with Kepler",
        documented: "NVML, nvmlDeviceGetGpuOperationMode: for GK110 M-class and X-class Tesla products from the Kepler family",
    },
    Reason {
        functions: &[
            "nvmlDeviceGetAutoBoostedClocksEnabled",
            "nvmlDeviceSetAutoBoostedClocksEnabled",
            "nvmlDeviceSetDefaultAutoBoostedClocksEnabled",
        ],
        why: "every preset is newer than Pascal",
        documented: "NVML, nvmlDeviceGetAutoBoostedClocksEnabled: on Pascal and newer controlled through application clocks",
    },
    Reason {
        functions: &[
            "nvmlDeviceGetNvLinkUtilizationControl",
            "nvmlDeviceGetNvLinkUtilizationCounter",
            "nvmlDeviceSetNvLinkUtilizationControl",
            "nvmlDeviceFreezeNvLinkUtilizationCounter",
            "nvmlDeviceResetNvLinkUtilizationCounter",
        ],
        why: "drivers do not let programs steer the counters of NVLinks any more",
        documented: "NVML, the functions themselves: deprecated; what is read has no default state without the control",
    },
    Reason {
        functions: &["nvmlDeviceGetDramEncryptionMode", "nvmlDeviceSetDramEncryptionMode"],
        why: "no simulated InfoROM has the object of memory encryption",
        documented: "NVML, nvmlDeviceGetDramEncryptionMode: requires NVML_INFOROM_DEN version 1.0 or higher",
    },
    Reason {
        functions: &[
            "nvmlDeviceGetConfComputeGpuCertificate",
            "nvmlDeviceGetConfComputeGpuAttestationReport",
            "nvmlDeviceSetConfComputeUnprotectedMemSize",
            "nvmlSystemSetConfComputeGpusReadyState",
            "nvmlSystemGetConfComputeKeyRotationThresholdInfo",
            "nvmlSystemSetConfComputeKeyRotationThresholdInfo",
        ],
        why: "confidential computing is off, as nvmlSystemGetConfComputeState says; nothing can be attested or protected",
        documented: "NVML, Conf Computing: not supported by the device",
    },
    Reason {
        functions: &["nvmlSystemGetCPER_v1"],
        why: "the machine keeps no Common Platform Error Records",
        documented: "NVML, nvmlSystemGetCPER_v1: the feature is not supported on this system",
    },
    Reason {
        functions: &["nvmlDeviceReadWritePRM_v1", "nvmlDeviceReadPRMCounters_v1"],
        why: "a simulated GPU has no registers",
        documented: "NVML, nvmlDeviceReadWritePRM_v1: for Blackwell or newer, not supported by the device",
    },
    Reason {
        functions: &["nvmlDeviceSetRusdSettings_v1"],
        why: "the simulated driver shares no memory with programs",
        documented: "NVML, nvmlDeviceSetRusdSettings_v1: not supported by the kernel driver",
    },
    Reason {
        functions: &[
            "nvmlDeviceGetAdaptiveTgpModeInfo_v1",
            "nvmlDeviceSetAdaptiveTgpMode_v1",
            "nvmlDeviceGetBankRemapperStatus_v1",
            "nvmlDeviceGetNvLinkTelemetrySamples_v1",
            "nvmlDeviceSetNvlinkBwModeAsync_v1",
        ],
        why: "every preset is older than Rubin",
        documented: "NVML 13.4, the functions themselves: for Rubin or newer",
    },
    Reason {
        functions: &[
            "nvmlDeviceGetGpuFabricInfo_v4",
            "nvmlDeviceGetMemoryLimits_v1",
            "nvmlDeviceSetMemoryLimits_v1",
            "nvmlDevicePerfMetricsGetSamples_v1",
            "nvmlEventSetRegisterGpuOperationalEvents_v1",
            "nvmlEventSetGet*",
            "nvmlEventSetWait_v3",
        ],
        why: "the drivers of the presets are of NVML 13.0; these functions came with 13.4",
        documented: "NVML 13.4, the functions themselves: not available on the platform or driver",
    },
    Reason {
        functions: &["nvmlDevicePowerSmoothing*"],
        why: "no simulated GPU smooths its power",
        documented: "NVML, Power Smoothing: for Blackwell or newer, not supported by the device",
    },
];

impl Reason {
    /// Whether it is a function's.
    pub fn is_of(&self, function: &str) -> bool {
        self.functions.iter().any(|pattern| fits(pattern, function))
    }
}

/// Whether a name is a pattern with any text in place of each `*`.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((beginning, rest)) => name.strip_prefix(beginning).is_some_and(|name| {
            name.char_indices()
                .map(|(at, _)| at)
                .chain([name.len()])
                .any(|at| name.get(at..).is_some_and(|end| fits(rest, end)))
        }),
    }
}
