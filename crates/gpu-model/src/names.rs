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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ResourceName;
    use crate::resource::{is_domain_part, is_qualified_name};

    const LABELS: [&str; 15] = [
        LABEL_NFD_NVIDIA_DEVICE,
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
