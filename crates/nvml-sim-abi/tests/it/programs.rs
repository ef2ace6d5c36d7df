//! The functions that programs of others call, by program: each answers on every GPU preset, or refuses as NVIDIA documents.
//! What they answer is the sweep's affair. The lists are those of NVIDIA's Go programs and what their Go bindings look for
//! when they load the library.

mod answers;

use nvml_sim::{Code, Model, Node, presets};
use nvml_sim_abi::IMPLEMENTED;

use crate::sim::{child, is_child, node_of, nvml, own_folder, passed};
use answers::answers;

const GO_NVML: &str = "nvmlInit_v2 nvmlDeviceGetPciInfo_v2 nvmlDeviceGetPciInfo_v3 nvmlDeviceGetCount_v2 \
    nvmlDeviceGetHandleByIndex_v2 nvmlDeviceGetHandleByPciBusId_v2 nvmlDeviceGetNvLinkRemotePciInfo_v2 \
    nvmlDeviceGetGridLicensableFeatures_v2 nvmlDeviceGetGridLicensableFeatures_v3 \
    nvmlDeviceGetGridLicensableFeatures_v4 nvmlEventSetWait_v2 nvmlDeviceGetAttributes_v2 \
    nvmlComputeInstanceGetInfo_v2 nvmlDeviceGetComputeRunningProcesses_v2 \
    nvmlDeviceGetComputeRunningProcesses_v3 nvmlDeviceGetGraphicsRunningProcesses_v2 \
    nvmlDeviceGetGraphicsRunningProcesses_v3 nvmlDeviceGetMPSComputeRunningProcesses_v2 \
    nvmlDeviceGetMPSComputeRunningProcesses_v3 nvmlDeviceGetGpuInstancePossiblePlacements_v2 \
    nvmlVgpuInstanceGetLicenseInfo_v2 nvmlDeviceGetDriverModel_v2";
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

/// A refusal that NVIDIA documents.
struct Refusal {
    functions: &'static str,
    /// The GPUs that refuse.
    of: fn(&Model) -> bool,
    code: Code,
    /// Where NVIDIA says so; "nvml.h" is that of NVML 13.4.
    documented: &'static str,
}

const REFUSALS: &[Refusal] = &[
    Refusal {
        functions: "nvmlDeviceGetMigMode nvmlDeviceSetMigMode nvmlDeviceGetGpuInstanceProfileInfo \
            nvmlDeviceGetGpuInstancePossiblePlacements_v2 nvmlDeviceCreateGpuInstance \
            nvmlDeviceCreateGpuInstanceWithPlacement nvmlDeviceGetGpuInstances nvmlDeviceGetGpuInstanceById",
        of: |model| !model.is_mig_capable(),
        code: Code::NOT_SUPPORTED,
        documented: "nvml.h: the device doesn't support MIG, or doesn't have it enabled",
    },
    Refusal {
        functions: "nvmlDeviceGetMigDeviceHandleByIndex",
        of: |model| !model.is_mig_capable(),
        code: Code::NOT_FOUND,
        documented: "nvml.h: no valid MIG device was found at the index",
    },
    Refusal {
        functions: "nvmlDeviceGetNvLinkState nvmlDeviceGetNvLinkRemotePciInfo_v2",
        of: |model| model.nvlinks == 0,
        code: Code::NOT_SUPPORTED,
        documented: "nvml.h: the device doesn't support this feature",
    },
    Refusal {
        functions: "nvmlDeviceGetGpuFabricInfo nvmlDeviceGetGpuFabricInfoV",
        of: |model| !model.fabric,
        code: Code::NOT_SUPPORTED,
        documented: "nvml.h: for Hopper or newer; the device doesn't support a GPU fabric",
    },
    Refusal {
        functions: "nvmlDeviceGetDriverModel_v2",
        of: |_| true,
        code: Code::NOT_SUPPORTED,
        documented: "nvml.h: the platform is not Windows",
    },
    Refusal {
        functions: "nvmlVgpuInstanceGetLicenseInfo_v2",
        of: |_| true,
        code: Code::NOT_SUPPORTED,
        documented: "nvml.h, vGPU Management: not supported where no vGPU is",
    },
];

/// What only root may do, as nvml.h says of each.
const ROOTS: &str = "nvmlDeviceSetPersistenceMode nvmlDeviceSetMigMode nvmlDeviceCreateGpuInstance \
    nvmlDeviceCreateGpuInstanceWithPlacement nvmlGpuInstanceCreateComputeInstance nvmlComputeInstanceDestroy \
    nvmlGpuInstanceDestroy";

/// What takes a handle of an instance or a MIG device, which a GPU without MIG never gives.
const OF_INSTANCES: &str = "nvmlGpuInstanceGetInfo nvmlGpuInstanceGetComputeInstanceProfileInfo \
    nvmlGpuInstanceCreateComputeInstance nvmlGpuInstanceGetComputeInstances nvmlComputeInstanceGetInfo_v2 \
    nvmlGpuInstanceGetComputeInstanceById nvmlDeviceGetDeviceHandleFromMigDeviceHandle \
    nvmlDeviceGetGpuInstanceId nvmlDeviceGetComputeInstanceId nvmlDeviceGetAttributes_v2 \
    nvmlComputeInstanceDestroy nvmlGpuInstanceDestroy";

fn is_in(list: &str, function: &str) -> bool {
    list.split_whitespace().any(|listed| listed == function)
}

/// Two GPUs of a preset, with the links and the fabric that it can have.
fn machine(preset: &str) -> String {
    format!(
        "driver: {{version: 580.95.05, cuda: \"13.0\"}}\nseed: programs\nnvswitches: [\"0000:05:00.0\"]\n\
         fabric: {{}}\ngpus:\n- {{model: {preset}, pci: \"0000:01:00.0\"}}\n- {{model: {preset}, pci: \"0000:02:00.0\"}}\n"
    )
}

#[test]
fn function_that_a_program_calls_answers_on_every_gpu_or_refuses_as_documented() {
    const NAME: &str =
        "programs::function_that_a_program_calls_answers_on_every_gpu_or_refuses_as_documented";
    if is_child() {
        return judge();
    }
    for preset in presets::GPUS {
        let (_dir, folder) = node_of(&machine(preset.name));
        passed(&child(NAME, folder.dir()).output().unwrap());
    }
    // A refusal that no preset gives has no business there.
    let models: Vec<Model> = presets::GPUS
        .iter()
        .map(|preset| Node::parse("test.yaml".as_ref(), &machine(preset.name)).unwrap().gpus[0].model.clone())
        .collect();
    for refusal in REFUSALS {
        assert!(
            models.iter().any(refusal.of) && refusal.documented.starts_with("nvml.h"),
            "{}",
            refusal.functions
        );
    }
}

/// The codes of all functions on the node of this process.
fn judge() {
    let (nvml, folder) = (nvml(), own_folder());
    let answers = answers(&nvml, &folder);
    let node = folder.node().unwrap();
    let model = &node.gpus[0].model;
    let is_root = rustix::process::geteuid().is_root();
    for (program, functions) in PROGRAMS {
        for function in functions.split_whitespace() {
            let refusal = REFUSALS.iter().find(|it| is_in(it.functions, function) && (it.of)(model));
            let expected = match refusal {
                Some(refusal) => refusal.code.0,
                None if !is_root && is_in(ROOTS, function) => Code::NO_PERMISSION.0,
                None => 0,
            };
            let never = !model.is_mig_capable() && is_in(OF_INSTANCES, function);
            let expected = (!never).then_some(expected);
            assert_eq!(answers.get(function).copied(), expected, "{program}, {function} on {}", model.name);
        }
    }
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
