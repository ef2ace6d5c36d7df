//! Every name that Gantry shares with a cluster: resources, node labels, CDI kinds, variables.
//!
//! Names that the field knows already keep their `nvidia.com/` form and meaning; what is ours alone
//! stands under `gantry.dev/`. Sources of NVIDIA's: k8s-device-plugin 0.20, which has the feature
//! discovery too, gpu-operator 26.7 and mig-parted 0.15. A name that a daemon to come will read or write is here
//! before it, so that nobody coins a second one.

/// Domain of everything that only Gantry knows.
pub const GANTRY_DOMAIN: &str = "gantry.dev";

/// Domain of the names that the field knows from NVIDIA's stack.
pub const NVIDIA_DOMAIN: &str = "nvidia.com";

/// Resource of whole GPUs, as NVIDIA's device plugin names it.
pub const RESOURCE_GPU: &str = "nvidia.com/gpu";

/// Resource that hands a daemon of ours all GPU and control nodes, so that it need not be privileged.
pub const RESOURCE_GPU_MANAGEMENT: &str = "gantry.dev/gpu-management";

/// Kind of our CDI devices. `nvidia.com/gpu` belongs to specs that NVIDIA's tools write.
pub const CDI_KIND_GPU: &str = "gantry.dev/gpu";

/// Variable by which NVIDIA's container runtime chooses GPUs; our CDI specs set it to `void`, so that
/// an image's own `all` gives nothing.
pub const ENV_VISIBLE_DEVICES: &str = "NVIDIA_VISIBLE_DEVICES";

/// Folder in a container whose entries name the devices for NVIDIA's container runtime, when [`ENV_VISIBLE_DEVICES`] names
/// it: only who may mount can choose devices in this way.
pub const VISIBLE_DEVICES_DIR: &str = "/var/run/nvidia-container-devices";

/// Variable by which NVIDIA's container runtime chooses IMEX channels, by number.
pub const ENV_IMEX_CHANNELS: &str = "NVIDIA_IMEX_CHANNELS";

/// Variable with which NVIDIA's container runtime adds GPUDirect Storage, where it says [`ENABLED`].
pub const ENV_GDS: &str = "NVIDIA_GDS";

/// As [`ENV_GDS`], for GDRCopy.
pub const ENV_GDRCOPY: &str = "NVIDIA_GDRCOPY";

/// As [`ENV_GDS`], for InfiniBand.
pub const ENV_MOFED: &str = "NVIDIA_MOFED";

/// Value that switches such a variable on.
pub const ENABLED: &str = "enabled";

/// Label of the node feature discovery: `true` on a node with an NVIDIA device (PCI vendor 10de).
pub const LABEL_NFD_NVIDIA_DEVICE: &str = "feature.node.kubernetes.io/pci-10de.present";

/// As [`LABEL_NFD_NVIDIA_DEVICE`], of those that are VGA controllers (PCI class 0300).
pub const LABEL_NFD_VGA_CONTROLLER: &str = "feature.node.kubernetes.io/pci-0300_10de.present";

/// As [`LABEL_NFD_NVIDIA_DEVICE`], of those that are 3D controllers (PCI class 0302).
pub const LABEL_NFD_3D_CONTROLLER: &str = "feature.node.kubernetes.io/pci-0302_10de.present";

/// Label of NVIDIA's operator: `true` on a node with GPUs. Many workloads select on it.
pub const LABEL_GPU_PRESENT: &str = "nvidia.com/gpu.present";

/// Label of the feature discovery: the GPUs' product name, with `-SHARED` behind it where they are shared.
pub const LABEL_GPU_PRODUCT: &str = "nvidia.com/gpu.product";

/// Label of the feature discovery: whether a GPU of the node can be partitioned.
pub const LABEL_MIG_CAPABLE: &str = "nvidia.com/mig.capable";

/// Label of the feature discovery: how MIG devices are offered, `single` or `mixed`; absent without MIG.
pub const LABEL_MIG_STRATEGY: &str = "nvidia.com/mig.strategy";

/// Label by which people ask for a MIG layout: the name of one in the MIG configuration.
pub const LABEL_MIG_CONFIG: &str = "nvidia.com/mig.config";

/// Label by which the partitioner answers [`LABEL_MIG_CONFIG`]: `pending`, `rebooting`, `success` or `failed`.
pub const LABEL_MIG_CONFIG_STATE: &str = "nvidia.com/mig.config.state";

/// Label by which people choose the sharing configuration of a node: the name of one in the ConfigMap.
pub const LABEL_DEVICE_PLUGIN_CONFIG: &str = "nvidia.com/device-plugin.config";

/// Label of NVIDIA's operator: `false` keeps all its operands off the node.
pub const LABEL_DEPLOY_OPERANDS: &str = "nvidia.com/gpu.deploy.operands";

/// Label of NVIDIA's operator: `true` where its device plugin is to run. Another value pauses it, as `false` and
/// `paused-for-mig-change` do; so for each label `nvidia.com/gpu.deploy.<operand>`.
pub const LABEL_DEPLOY_DEVICE_PLUGIN: &str = "nvidia.com/gpu.deploy.device-plugin";

/// As [`LABEL_DEPLOY_DEVICE_PLUGIN`], for its feature discovery.
pub const LABEL_DEPLOY_FEATURE_DISCOVERY: &str = "nvidia.com/gpu.deploy.gpu-feature-discovery";

/// As [`LABEL_DEPLOY_DEVICE_PLUGIN`], for its MIG manager.
pub const LABEL_DEPLOY_MIG_MANAGER: &str = "nvidia.com/gpu.deploy.mig-manager";

/// As [`LABEL_DEPLOY_DEVICE_PLUGIN`], for its metrics exporter.
pub const LABEL_DEPLOY_DCGM_EXPORTER: &str = "nvidia.com/gpu.deploy.dcgm-exporter";

/// As [`LABEL_DEPLOY_DEVICE_PLUGIN`], for its node validator.
pub const LABEL_DEPLOY_OPERATOR_VALIDATOR: &str = "nvidia.com/gpu.deploy.operator-validator";

/// As [`LABEL_DEPLOY_DEVICE_PLUGIN`], for DaemonSets of others that use GPUs and want to be paused with the operands.
pub const LABEL_DEPLOY_CLIENT: &str = "nvidia.com/gpu.deploy.client";

/// Label of the feature discovery: when its process began, in seconds since 1970.
pub const LABEL_GFD_TIMESTAMP: &str = "nvidia.com/gfd.timestamp";

/// Label of the feature discovery: the driver's version.
pub const LABEL_DRIVER_VERSION_FULL: &str = "nvidia.com/cuda.driver-version.full";

/// Label of the feature discovery: its first part.
pub const LABEL_DRIVER_VERSION_MAJOR: &str = "nvidia.com/cuda.driver-version.major";

/// Label of the feature discovery: its second part.
pub const LABEL_DRIVER_VERSION_MINOR: &str = "nvidia.com/cuda.driver-version.minor";

/// Label of the feature discovery: what follows; empty where nothing does.
pub const LABEL_DRIVER_VERSION_REVISION: &str = "nvidia.com/cuda.driver-version.revision";

/// As [`LABEL_DRIVER_VERSION_MAJOR`]; deprecated, and still in many selectors.
pub const LABEL_DRIVER_MAJOR: &str = "nvidia.com/cuda.driver.major";

/// As [`LABEL_DRIVER_VERSION_MINOR`]; deprecated.
pub const LABEL_DRIVER_MINOR: &str = "nvidia.com/cuda.driver.minor";

/// As [`LABEL_DRIVER_VERSION_REVISION`]; deprecated.
pub const LABEL_DRIVER_REVISION: &str = "nvidia.com/cuda.driver.rev";

/// Label of the feature discovery: the highest CUDA version that the driver serves.
pub const LABEL_RUNTIME_VERSION_FULL: &str = "nvidia.com/cuda.runtime-version.full";

/// Label of the feature discovery: its first part.
pub const LABEL_RUNTIME_VERSION_MAJOR: &str = "nvidia.com/cuda.runtime-version.major";

/// Label of the feature discovery: its second part.
pub const LABEL_RUNTIME_VERSION_MINOR: &str = "nvidia.com/cuda.runtime-version.minor";

/// As [`LABEL_RUNTIME_VERSION_MAJOR`]; deprecated.
pub const LABEL_RUNTIME_MAJOR: &str = "nvidia.com/cuda.runtime.major";

/// As [`LABEL_RUNTIME_VERSION_MINOR`]; deprecated.
pub const LABEL_RUNTIME_MINOR: &str = "nvidia.com/cuda.runtime.minor";

/// Label of the feature discovery: the machine's product name, or `unknown`.
pub const LABEL_GPU_MACHINE: &str = "nvidia.com/gpu.machine";

/// Label of the feature discovery: `graphics`, `compute` or `unknown`.
pub const LABEL_GPU_MODE: &str = "nvidia.com/gpu.mode";

/// Label of the feature discovery: cluster and clique of the NVLink fabric.
pub const LABEL_GPU_CLIQUE: &str = "nvidia.com/gpu.clique";

/// Label of the feature discovery: whether GPUs are shared by MPS.
pub const LABEL_MPS_CAPABLE: &str = "nvidia.com/mps.capable";

/// Label of the feature discovery: whether a GPU is a virtual one.
pub const LABEL_VGPU_PRESENT: &str = "nvidia.com/vgpu.present";

/// Label of the feature discovery: version of the driver on the host of a virtual GPU.
pub const LABEL_VGPU_HOST_DRIVER_VERSION: &str = "nvidia.com/vgpu.host-driver-version";

/// Label of the feature discovery: its branch.
pub const LABEL_VGPU_HOST_DRIVER_BRANCH: &str = "nvidia.com/vgpu.host-driver-branch";

/// Behind a resource, a label of the feature discovery: the product name.
pub const SUFFIX_PRODUCT: &str = ".product";

/// Behind a resource, a label of the feature discovery: how many devices there are.
pub const SUFFIX_COUNT: &str = ".count";

/// Behind a resource, a label of the feature discovery: how many containers have a device at once.
pub const SUFFIX_REPLICAS: &str = ".replicas";

/// Behind a resource, a label of the feature discovery: how they share it.
pub const SUFFIX_SHARING_STRATEGY: &str = ".sharing-strategy";

/// Behind a resource, a label of the feature discovery: memory in MiB.
pub const SUFFIX_MEMORY: &str = ".memory";

/// Behind a resource, a label of the feature discovery: the architecture's name.
pub const SUFFIX_FAMILY: &str = ".family";

/// Behind a resource, a label of the feature discovery: first part of the compute capability.
pub const SUFFIX_COMPUTE_MAJOR: &str = ".compute.major";

/// Behind a resource, a label of the feature discovery: its second part.
pub const SUFFIX_COMPUTE_MINOR: &str = ".compute.minor";

/// Behind a resource, a label of the feature discovery: streaming multiprocessors of a MIG device.
pub const SUFFIX_MULTIPROCESSORS: &str = ".multiprocessors";

/// Behind a resource, a label of the feature discovery: slices of its GPU instance.
pub const SUFFIX_SLICES_GI: &str = ".slices.gi";

/// Behind a resource, a label of the feature discovery: slices of its compute instance.
pub const SUFFIX_SLICES_CI: &str = ".slices.ci";

/// Behind a resource, a label of the feature discovery: its copy engines.
pub const SUFFIX_ENGINES_COPY: &str = ".engines.copy";

/// Behind a resource, a label of the feature discovery: its video decoders.
pub const SUFFIX_ENGINES_DECODER: &str = ".engines.decoder";

/// Behind a resource, a label of the feature discovery: its video encoders.
pub const SUFFIX_ENGINES_ENCODER: &str = ".engines.encoder";

/// Behind a resource, a label of the feature discovery: its JPEG decoders.
pub const SUFFIX_ENGINES_JPEG: &str = ".engines.jpeg";

/// Behind a resource, a label of the feature discovery: its optical flow accelerators.
pub const SUFFIX_ENGINES_OFA: &str = ".engines.ofa";

/// Label of ours: GPUs on which no work can be placed, or that the driver does not let us identify.
pub const LABEL_UNHEALTHY_COUNT: &str = "gantry.dev/gpu.unhealthy.count";

/// Labels of ours for each model of GPU begin so; the model follows, then [`SUFFIX_COUNT`] or [`SUFFIX_MEMORY`].
pub const LABEL_MODEL_PREFIX: &str = "gantry.dev/gpu.model.";

/// Label of ours: whether the GPUs' memory corrects errors.
pub const LABEL_ECC: &str = "gantry.dev/gpu.ecc";

/// Label of ours: NVLinks that are up on each GPU.
pub const LABEL_NVLINK_COUNT: &str = "gantry.dev/gpu.nvlink.count";

/// Label of ours: generation of the PCI Express link.
pub const LABEL_PCIE_GENERATION: &str = "gantry.dev/gpu.pcie.generation";

/// Label of ours: its lanes.
pub const LABEL_PCIE_WIDTH: &str = "gantry.dev/gpu.pcie.width";

/// Label of ours: NUMA nodes that have GPUs.
pub const LABEL_NUMA_COUNT: &str = "gantry.dev/gpu.numa.count";

/// Label of ours: the power limit in watts.
pub const LABEL_POWER_LIMIT: &str = "gantry.dev/gpu.power-limit";

/// Label of ours: `open` or `proprietary` kernel driver.
pub const LABEL_DRIVER_FLAVOUR: &str = "gantry.dev/gpu.driver.flavour";

/// Label of ours: whether the GPU System Processor is in use.
pub const LABEL_GSP: &str = "gantry.dev/gpu.gsp";

/// Label of ours: whether confidential computing is on.
pub const LABEL_CONFIDENTIAL_COMPUTE: &str = "gantry.dev/gpu.confidential-compute";

/// Label of ours: the largest MIG profile for which there is room.
pub const LABEL_MIG_ROOM: &str = "gantry.dev/mig.room";

/// Label of ours: how the GPUs stand in their NVLink fabric.
pub const LABEL_FABRIC_STATE: &str = "gantry.dev/gpu.fabric.state";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ResourceName;
    use crate::resource::{is_domain_part, is_qualified_name};

    const LABELS: [&str; 49] = [
        LABEL_NFD_NVIDIA_DEVICE,
        LABEL_NFD_VGA_CONTROLLER,
        LABEL_NFD_3D_CONTROLLER,
        LABEL_GPU_PRESENT,
        LABEL_GPU_PRODUCT,
        LABEL_MIG_CAPABLE,
        LABEL_MIG_STRATEGY,
        LABEL_MIG_CONFIG,
        LABEL_MIG_CONFIG_STATE,
        LABEL_DEVICE_PLUGIN_CONFIG,
        LABEL_DEPLOY_OPERANDS,
        LABEL_DEPLOY_DEVICE_PLUGIN,
        LABEL_DEPLOY_FEATURE_DISCOVERY,
        LABEL_DEPLOY_MIG_MANAGER,
        LABEL_DEPLOY_DCGM_EXPORTER,
        LABEL_DEPLOY_OPERATOR_VALIDATOR,
        LABEL_DEPLOY_CLIENT,
        LABEL_GFD_TIMESTAMP,
        LABEL_DRIVER_VERSION_FULL,
        LABEL_DRIVER_VERSION_MAJOR,
        LABEL_DRIVER_VERSION_MINOR,
        LABEL_DRIVER_VERSION_REVISION,
        LABEL_DRIVER_MAJOR,
        LABEL_DRIVER_MINOR,
        LABEL_DRIVER_REVISION,
        LABEL_RUNTIME_VERSION_FULL,
        LABEL_RUNTIME_VERSION_MAJOR,
        LABEL_RUNTIME_VERSION_MINOR,
        LABEL_RUNTIME_MAJOR,
        LABEL_RUNTIME_MINOR,
        LABEL_GPU_MACHINE,
        LABEL_GPU_MODE,
        LABEL_GPU_CLIQUE,
        LABEL_MPS_CAPABLE,
        LABEL_VGPU_PRESENT,
        LABEL_VGPU_HOST_DRIVER_VERSION,
        LABEL_VGPU_HOST_DRIVER_BRANCH,
        LABEL_UNHEALTHY_COUNT,
        LABEL_ECC,
        LABEL_NVLINK_COUNT,
        LABEL_PCIE_GENERATION,
        LABEL_PCIE_WIDTH,
        LABEL_NUMA_COUNT,
        LABEL_POWER_LIMIT,
        LABEL_DRIVER_FLAVOUR,
        LABEL_GSP,
        LABEL_CONFIDENTIAL_COMPUTE,
        LABEL_MIG_ROOM,
        LABEL_FABRIC_STATE,
    ];

    #[test]
    fn labels_are_valid_keys_and_each_is_named_once() {
        for (at, label) in LABELS.iter().enumerate() {
            let (domain, name) = label.split_once('/').unwrap();
            assert!(domain.len() <= 253 && domain.split('.').all(is_domain_part), "{label}");
            assert!(is_qualified_name(name), "{label}");
            assert!(!LABELS[..at].contains(label), "{label}");
        }
    }

    #[test]
    fn resources_are_such_that_the_kubelet_takes() {
        for name in [RESOURCE_GPU, RESOURCE_GPU_MANAGEMENT] {
            assert!(name.parse::<ResourceName>().is_ok(), "{name}");
        }
    }

    #[test]
    fn names_of_ours_stand_in_our_domain() {
        for name in [RESOURCE_GPU_MANAGEMENT, CDI_KIND_GPU] {
            assert!(name.strip_prefix(GANTRY_DOMAIN).is_some_and(|rest| rest.starts_with('/')), "{name}");
        }
    }
}
