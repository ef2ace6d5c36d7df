//! What can be written in the file: keys, types and their meaning. It knows no rule between keys; every key may be
//! missing or empty, as in NVIDIA's files.
//!
//! The comments of the fields are the reference that people read (`docs/config.md`).

use gpu_health::xid::XidClass;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

use crate::devices::Devices;
use crate::values::{DeviceIdStrategy, DeviceListStrategy, DiscoveryStrategy, MigStrategy, SharedPolicy};

/// The config file of Gantry's device plugin and feature discovery.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields, title = "Config")]
pub(crate) struct File {
    /// Version of the schema: `v1`, which is also meant where it is missing.
    pub version: Option<String>,
    /// What the command line's flags say too; a flag or its variable wins.
    pub flags: Option<FlagsPart>,
    /// Which GPUs are offered; all where absent. Ours.
    pub devices: Option<DevicesPart>,
    /// What the resources are called, by the devices' names and properties.
    pub resources: Option<ResourcesPart>,
    /// Which devices several containers share, and how.
    pub sharing: Option<SharingPart>,
    /// Channels of the internode memory exchange.
    pub imex: Option<ImexPart>,
    /// How GPUs are judged. Ours.
    pub health: Option<HealthPart>,
    /// How many daemons of the node may have the device nodes of all GPUs at once, as `gantry.dev/gpu-management`; none where absent. Ours.
    pub gpu_management: Option<i64>,
}

/// Settings that flags have, too.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub(crate) struct FlagsPart {
    /// What MIG devices become: `none`, `single` or `mixed`.
    pub mig_strategy: Option<MigStrategy>,
    /// Whether to exit when NVML cannot be initialised at the start; `false` where nobody says it, with `--compat` `true`. Otherwise it is waited for. Read at the start.
    pub fail_on_init_error: Option<bool>,
    /// The driver's root on the host. Read at the start.
    pub nvidia_driver_root: Option<String>,
    /// The root of the device nodes on the host. Read at the start.
    pub nvidia_dev_root: Option<String>,
    /// Folder of the MPS daemons. Not supported.
    pub mps_root: Option<String>,
    /// How GPUs are found: `auto` or `nvml`; `tegra` is not supported.
    pub device_discovery_strategy: Option<DiscoveryStrategy>,
    /// Whether containers get GDRCopy.
    pub gdrcopy_enabled: Option<bool>,
    /// Whether containers get GPUDirect Storage.
    pub gds_enabled: Option<bool>,
    /// Whether containers get Mellanox' OFED.
    pub mofed_enabled: Option<bool>,
    /// Whether the feature discovery writes a NodeFeature object instead of a file.
    #[serde(rename = "useNodeFeatureAPI")]
    pub use_node_feature_api: Option<bool>,
    /// Settings of the device plugin.
    pub plugin: Option<PluginPart>,
    /// Settings of the feature discovery.
    pub gfd: Option<GfdPart>,
}

/// Settings of the device plugin.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub(crate) struct PluginPart {
    /// Where the plugin's container has the driver's root. Read at the start.
    pub container_driver_root: Option<String>,
    /// Whether the kubelet is told the device nodes, besides what `envvar` and `volume-mounts` do.
    pub pass_device_specs: Option<bool>,
    /// How a container gets its devices: one or several of `envvar`, `volume-mounts`, `cdi-annotations`, `cdi-cri`.
    pub device_list_strategy: Option<OneOrMore<DeviceListStrategy>>,
    /// What `envvar` and `volume-mounts` call a device: `uuid` or `index`. CDI names are UUIDs.
    #[serde(rename = "deviceIDStrategy")]
    pub device_id_strategy: Option<DeviceIdStrategy>,
    /// Prefix of the annotation for `cdi-annotations`, such as `cdi.k8s.io/`.
    pub cdi_annotation_prefix: Option<String>,
    /// The host's path of NVIDIA's CDI hook program; no hooks where absent. Read at the start.
    #[serde(rename = "nvidiaCTKPath")]
    pub nvidia_ctk_path: Option<String>,
    /// Which of several shares or MIG devices a container gets: `distributed` (of the GPU with the fewest taken) or `packed` (of the
    /// one with the most). Where nobody says it, shares are distributed and MIG devices packed, and with `--compat` both distributed.
    pub shared_devices_allocation_policy: Option<SharedPolicy>,
}

/// Settings of the feature discovery.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub(crate) struct GfdPart {
    /// Whether to write the labels once and end.
    pub oneshot: Option<bool>,
    /// Whether to leave out the label with the time.
    pub no_timestamp: Option<bool>,
    /// Time between two rounds, such as `60s`, or `infinite`.
    pub sleep_interval: Option<String>,
    /// The file to write; the standard output where empty.
    pub output_file: Option<String>,
    /// The file with the machine's product name.
    pub machine_type_file: Option<String>,
}

/// Which GPUs are offered.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub(crate) struct DevicesPart {
    /// Only these: indexes, UUIDs, PCI addresses, or product names with `*` for any text.
    pub include: Option<Vec<NumberOrText>>,
    /// Not these; a GPU that is in both lists is left out.
    pub exclude: Option<Vec<NumberOrText>>,
}

/// What the resources are called.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub(crate) struct ResourcesPart {
    /// Of whole GPUs; the first that fits wins, and `nvidia.com/gpu` where none does.
    pub gpus: Option<Vec<GpuRulePart>>,
    /// Of MIG devices; the first that fits wins.
    pub mig: Option<Vec<MigRulePart>>,
}

/// What some GPUs are called.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub(crate) struct GpuRulePart {
    /// The products' name, with `*` for any text.
    pub pattern: Option<String>,
    /// The resource; `nvidia.com/` is put before a name without a domain.
    pub name: Option<String>,
    /// Only GPUs with so much memory, such as `{min: 40GiB, max: 80GiB}`. Ours.
    pub memory: Option<RangePart>,
    /// Only GPUs of these compute capabilities, such as `{min: "8.0"}`. Ours.
    pub compute_capability: Option<RangePart>,
}

/// What some MIG devices are called.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub(crate) struct MigRulePart {
    /// The profile, such as `1g.10gb`, with `*` for any text.
    pub pattern: Option<String>,
    /// The resource; `nvidia.com/` is put before a name without a domain.
    pub name: Option<String>,
}

/// From the one to the other, both within.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct RangePart {
    /// The lowest.
    pub min: Option<String>,
    /// The highest.
    pub max: Option<String>,
}

/// Which devices several containers share.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub(crate) struct SharingPart {
    /// By taking turns.
    pub time_slicing: Option<TimeSlicingPart>,
    /// By NVIDIA's Multi-Process Service. Not supported.
    pub mps: Option<serde_json::Value>,
}

/// Sharing by taking turns.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub(crate) struct TimeSlicingPart {
    /// Whether a shared resource without a `rename` is called `<name>.shared`.
    pub rename_by_default: Option<bool>,
    /// Whether a container that asks for more than one share is refused.
    pub fail_requests_greater_than_one: Option<bool>,
    /// What is shared.
    pub resources: Option<Vec<SharedPart>>,
}

/// One resource that is shared.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub(crate) struct SharedPart {
    /// The resource whose devices are shared; `nvidia.com/` is put before a name without a domain.
    pub name: Option<String>,
    /// What the shares are called instead.
    pub rename: Option<String>,
    /// Which of its devices.
    pub devices: Option<Devices>,
    /// How many shares each has, from 2 up.
    pub replicas: Option<i64>,
}

/// Channels of the internode memory exchange.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub(crate) struct ImexPart {
    /// The channels that each container gets: none, or `[0]`.
    #[serde(rename = "channelIDs")]
    pub channel_ids: Option<Vec<u32>>,
    /// Whether a container without its channel is refused.
    pub required: Option<bool>,
}

/// How GPUs are judged.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub(crate) struct HealthPart {
    /// XIDs that mean something else than the built-in table says (docs/health.md); a flag or its variable wins.
    pub xids: Option<Vec<XidPart>>,
}

/// What one XID means.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub(crate) struct XidPart {
    /// Its number, from 1.
    pub xid: Option<i64>,
    /// What it means.
    pub class: Option<XidClass>,
}

/// One value, several with commas between them, or a list.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
pub(crate) struct OneOrMore<T>(pub Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMore<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = OneOrMore<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("one name, several with commas between them, or a list")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                let one = |name: &str| T::deserialize(de::value::StrDeserializer::new(name.trim()));
                text.split(',').map(one).collect::<Result<_, E>>().map(OneOrMore)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                Deserialize::deserialize(de::value::SeqAccessDeserializer::new(list)).map(OneOrMore)
            }
        }

        deserializer.deserialize_any(Either(std::marker::PhantomData))
    }
}

/// A whole number or a text, as text.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(extend("type" = ["integer", "string"]))]
pub(crate) struct NumberOrText(pub String);

impl<'de> Deserialize<'de> for NumberOrText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl Visitor<'_> for Either {
            type Value = NumberOrText;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an index, a UUID, a PCI address or a product's name")
            }

            fn visit_u64<E>(self, number: u64) -> Result<NumberOrText, E> {
                Ok(NumberOrText(number.to_string()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<NumberOrText, E> {
                Ok(NumberOrText(number.to_string()))
            }

            fn visit_str<E>(self, text: &str) -> Result<NumberOrText, E> {
                Ok(NumberOrText(text.to_owned()))
            }
        }

        deserializer.deserialize_any(Either)
    }
}
