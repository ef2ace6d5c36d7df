//! The functions that programs of others call, by program: none is a refusal. What the getters among them answer on each
//! node preset is the sweep's affair. The lists are those of NVIDIA's Go programs and what their Go bindings look for when they load the library.

use nvml_sim_abi::{IMPLEMENTED, KNOWN};

const GO_NVML: &str = "nvmlInit_v2 nvmlDeviceGetPciInfo_v2 nvmlDeviceGetPciInfo_v3 nvmlDeviceGetCount_v2 \
    nvmlDeviceGetHandleByIndex_v2 nvmlDeviceGetHandleByPciBusId_v2 nvmlDeviceGetNvLinkRemotePciInfo_v2 \
    nvmlDeviceGetGridLicensableFeatures_v2 nvmlDeviceGetGridLicensableFeatures_v3 \
    nvmlDeviceGetGridLicensableFeatures_v4 nvmlEventSetWait_v2 nvmlDeviceGetAttributes_v2 \
    nvmlComputeInstanceGetInfo_v2 nvmlDeviceGetComputeRunningProcesses_v2 \
    nvmlDeviceGetComputeRunningProcesses_v3 nvmlDeviceGetGraphicsRunningProcesses_v2 \
    nvmlDeviceGetGraphicsRunningProcesses_v3 nvmlDeviceGetMPSComputeRunningProcesses_v2 \
    nvmlDeviceGetMPSComputeRunningProcesses_v3 nvmlDeviceGetGpuInstancePossiblePlacements_v2";
const DEVICE_PLUGIN: &str = "nvmlInit_v2 nvmlShutdown nvmlErrorString nvmlSystemGetDriverVersion \
    nvmlSystemGetCudaDriverVersion nvmlDeviceGetCount_v2 nvmlDeviceGetHandleByIndex_v2 \
    nvmlDeviceGetHandleByUUID nvmlDeviceGetName nvmlDeviceGetUUID nvmlDeviceGetMinorNumber \
    nvmlDeviceGetPciInfo_v3 nvmlDeviceGetMemoryInfo nvmlDeviceGetCudaComputeCapability nvmlDeviceGetMigMode \
    nvmlDeviceGetMaxMigDeviceCount nvmlDeviceGetMigDeviceHandleByIndex \
    nvmlDeviceGetDeviceHandleFromMigDeviceHandle nvmlDeviceIsMigDeviceHandle nvmlDeviceGetGpuInstanceId \
    nvmlDeviceGetComputeInstanceId nvmlDeviceGetAttributes_v2 nvmlDeviceGetSupportedEventTypes \
    nvmlDeviceRegisterEvents nvmlEventSetCreate nvmlEventSetWait_v2 nvmlEventSetFree \
    nvmlDeviceGetGpuInstanceProfileInfo";
const MIG_PROFILE_NAMES: &str = "nvmlDeviceGetGpuInstanceById nvmlGpuInstanceGetInfo \
    nvmlDeviceGetGpuInstanceProfileInfo nvmlGpuInstanceGetComputeInstanceById nvmlComputeInstanceGetInfo_v2 \
    nvmlGpuInstanceGetComputeInstanceProfileInfo";
const ALIGNED_ALLOCATION: &str = "nvmlDeviceGetTopologyCommonAncestor nvmlDeviceGetNvLinkState \
    nvmlDeviceGetNvLinkRemotePciInfo_v2 nvmlDeviceGetPciInfo_v3 nvmlDeviceGetUUID";
const GPU_FEATURE_DISCOVERY: &str = "nvmlDeviceGetGpuFabricInfo nvmlDeviceGetGpuFabricInfoV";
const MIG_PARTED: &str = "nvmlSystemGetNVMLVersion nvmlDeviceGetHandleByPciBusId_v2 nvmlDeviceGetIndex \
    nvmlDeviceSetMigMode nvmlDeviceCreateGpuInstance nvmlDeviceCreateGpuInstanceWithPlacement \
    nvmlDeviceGetGpuInstances nvmlGpuInstanceGetInfo nvmlGpuInstanceDestroy \
    nvmlGpuInstanceCreateComputeInstance nvmlGpuInstanceGetComputeInstances nvmlComputeInstanceDestroy";
const CDI_GENERATE: &str = "nvmlDeviceGetAddressingMode nvmlDeviceGetMinorNumber nvmlDeviceGetIndex";
const DRA_DRIVER: &str = "nvmlInitWithFlags nvmlDeviceGetArchitecture nvmlDeviceGetBrand \
    nvmlDeviceGetVirtualizationMode nvmlDeviceSetPersistenceMode nvmlDeviceGetGpuInstancePossiblePlacements_v2";

const PROGRAMS: &[(&str, &str)] = &[
    ("go-nvml", GO_NVML),
    ("k8s-device-plugin", DEVICE_PLUGIN),
    ("k8s-device-plugin, names of MIG profiles", MIG_PROFILE_NAMES),
    ("k8s-device-plugin, aligned allocation", ALIGNED_ALLOCATION),
    ("gpu-feature-discovery", GPU_FEATURE_DISCOVERY),
    ("mig-parted", MIG_PARTED),
    ("nvidia-ctk cdi generate", CDI_GENERATE),
    ("k8s-dra-driver-gpu", DRA_DRIVER),
];

/// Looked for by go-nvml when it loads, and refused with a documented reason: no Linux driver and no bare machine has them.
const LOOKED_FOR_ALONE: &[&str] = &["nvmlVgpuInstanceGetLicenseInfo_v2", "nvmlDeviceGetDriverModel_v2"];

#[test]
fn function_that_a_program_calls_is_implemented() {
    let implemented: Vec<&str> = IMPLEMENTED.iter().flat_map(|names| names.iter().copied()).collect();
    for (program, functions) in PROGRAMS {
        for function in functions.split_whitespace() {
            assert!(implemented.contains(&function), "{program} calls {function}");
        }
    }
    assert!(LOOKED_FOR_ALONE.iter().all(|function| KNOWN.contains(function)));
}

/// The part of NVML that answers, as the user's documentation tells it.
#[test]
fn documentation_tells_how_many_functions_answer() {
    let answering: usize = IMPLEMENTED.iter().map(|names| names.len()).sum();
    let docs =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/simulator-limits.md"))
            .unwrap();
    let told =
        docs.split("More than ").find_map(|rest| rest.split_once(" of them answer")?.0.parse::<usize>().ok());
    let told = told.expect("docs/simulator-limits.md says `More than N of them answer`");
    assert!(told < answering && answering <= told + 100, "{answering} functions answer, not about {told}");
}
