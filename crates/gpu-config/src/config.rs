//! What a config file says, once it is judged. It knows values only.

use std::collections::BTreeMap;

use gpu_health::xid::XidClass;
use gpu_model::ResourceName;

use crate::devices::Devices;
use crate::pattern::Pattern;
use crate::selector::GpuSelector;
use crate::values::{
    ComputeCapability, DeviceIdStrategy, DeviceListStrategy, Memory, MigStrategy, Range, SharedPolicy,
    SleepInterval,
};

/// What a config file says; `None` where it says nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Settings that flags have, too.
    pub flags: Flags,
    /// Which GPUs are offered.
    pub devices: DeviceFilter,
    /// What whole GPUs are called; the first that fits wins.
    pub gpu_rules: Vec<GpuRule>,
    /// What MIG devices are called; the first that fits wins.
    pub mig_rules: Vec<MigRule>,
    /// Which devices are shared by taking turns.
    pub time_slicing: Option<TimeSlicing>,
    /// Channels of the internode memory exchange.
    pub imex: Imex,
    /// What XIDs mean that the built-in table judges otherwise, by number.
    pub xids: BTreeMap<u64, XidClass>,
    /// How many daemons of the node may have the device nodes of all GPUs at once; 0 for none.
    pub gpu_management: Option<u32>,
}

/// Settings that flags have, too.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flags {
    /// What MIG devices become.
    pub mig_strategy: Option<MigStrategy>,
    /// Whether a failure to initialise NVML ends the program.
    pub fail_on_init_error: Option<bool>,
    /// The driver's root on the host.
    pub driver_root: Option<String>,
    /// The root of the device nodes on the host.
    pub dev_root: Option<String>,
    /// Whether containers get GDRCopy.
    pub gdrcopy: Option<bool>,
    /// Whether containers get GPUDirect Storage.
    pub gds: Option<bool>,
    /// Whether containers get Mellanox' OFED.
    pub mofed: Option<bool>,
    /// Whether the feature discovery writes a NodeFeature object.
    pub node_feature_api: Option<bool>,
    /// Settings of the device plugin.
    pub plugin: PluginFlags,
    /// Settings of the feature discovery.
    pub gfd: GfdFlags,
}

/// Settings of the device plugin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PluginFlags {
    /// Where the plugin's container has the driver's root.
    pub container_driver_root: Option<String>,
    /// Whether the kubelet is told the device nodes.
    pub pass_device_specs: Option<bool>,
    /// How a container gets its devices; never empty.
    pub device_list_strategies: Option<Vec<DeviceListStrategy>>,
    /// What a device is called towards the container runtime.
    pub device_id_strategy: Option<DeviceIdStrategy>,
    /// Prefix of the annotation with CDI names.
    pub cdi_annotation_prefix: Option<String>,
    /// The host's path of NVIDIA's CDI hook program.
    pub cdi_hook_path: Option<String>,
    /// Which of several shares or MIG devices a container gets.
    pub shared_policy: Option<SharedPolicy>,
}

/// Settings of the feature discovery.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GfdFlags {
    /// Whether to write the labels once and end.
    pub oneshot: Option<bool>,
    /// Whether to leave out the label with the time.
    pub no_timestamp: Option<bool>,
    /// Time between two rounds.
    pub sleep_interval: Option<SleepInterval>,
    /// The file to write; standard output where empty.
    pub output_file: Option<String>,
    /// The file with the machine's product name.
    pub machine_type_file: Option<String>,
}

/// Which GPUs are offered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceFilter {
    /// Only these, where it is said.
    pub include: Option<Vec<GpuSelector>>,
    /// Not these, whatever `include` says.
    pub exclude: Vec<GpuSelector>,
}

/// What some GPUs are called.
#[derive(Clone, Debug, PartialEq)]
pub struct GpuRule {
    /// Their product name.
    pub product: Pattern,
    /// Their memory.
    pub memory: Range<Memory>,
    /// Their compute capability.
    pub compute_capability: Range<ComputeCapability>,
    /// The resource.
    pub resource: ResourceName,
}

/// What some MIG devices are called.
#[derive(Clone, Debug, PartialEq)]
pub struct MigRule {
    /// Their profile.
    pub profile: Pattern,
    /// The resource.
    pub resource: ResourceName,
}

/// Sharing by taking turns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TimeSlicing {
    /// Whether a container that asks for more than one share is refused.
    pub fail_requests_greater_than_one: bool,
    /// What is shared. No device of one resource is named twice, as far as names tell.
    pub resources: Vec<SharedResource>,
}

/// One resource that is shared.
#[derive(Clone, Debug, PartialEq)]
pub struct SharedResource {
    /// The resource whose devices are shared.
    pub resource: ResourceName,
    /// What the shares are called; the same name where it is not another.
    pub shared_as: ResourceName,
    /// Which of its devices.
    pub devices: Devices,
    /// How many shares each has, from 2 up.
    pub replicas: u32,
}

/// Channels of the internode memory exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Imex {
    /// Whether each container gets channel 0.
    pub channel: bool,
    /// Whether a container without its channel is refused.
    pub required: bool,
}
