//! Flags on how a container gets its devices. Their names and variables are those of NVIDIA's device plugin.

use clap::Args as ClapArgs;
use clap::builder::BoolishValueParser;
use daemon::word;
use gpu_config::{DeviceIdStrategy, DeviceListStrategy};

/// How a container gets its devices.
#[derive(Debug, Default, ClapArgs)]
#[command(next_help_heading = "Injection; a flag counts before its variable, both before the config file")]
pub struct InjectionArgs {
    /// How a container gets its devices, several with commas: cdi-cri, cdi-annotations (by CDI, under gantry.dev/gpu),
    /// envvar, volume-mounts (by NVIDIA's container runtime) [default: cdi-cri; with --compat envvar]
    #[arg(long, env = "DEVICE_LIST_STRATEGY", value_name = "STRATEGIES", value_delimiter = ',', value_parser = word::<DeviceListStrategy>)]
    pub device_list_strategy: Option<Vec<DeviceListStrategy>>,

    /// What envvar and volume-mounts call a device: uuid or index. CDI names are always UUIDs [default: uuid]
    #[arg(long, env = "DEVICE_ID_STRATEGY", value_name = "STRATEGY", value_parser = word::<DeviceIdStrategy>)]
    pub device_id_strategy: Option<DeviceIdStrategy>,

    /// Tell the kubelet the device nodes, too, so that `systemctl daemon-reload` and the CPU manager keep them open.
    /// For envvar and volume-mounts [default: false]
    #[arg(long, env = "PASS_DEVICE_SPECS", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub pass_device_specs: Option<bool>,

    /// Prefix of the annotation of cdi-annotations [default: cdi.k8s.io/]
    #[arg(long, env = "CDI_ANNOTATION_PREFIX", value_name = "PREFIX")]
    pub cdi_annotation_prefix: Option<String>,

    /// Give containers GPUDirect Storage [default: false]
    #[arg(long, env = "GDS_ENABLED", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub gds_enabled: Option<bool>,

    /// Give containers GDRCopy [default: false]
    #[arg(long, env = "GDRCOPY_ENABLED", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub gdrcopy_enabled: Option<bool>,

    /// Give containers InfiniBand (MOFED) [default: false]
    #[arg(long, env = "MOFED_ENABLED", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub mofed_enabled: Option<bool>,

    /// IMEX channels that each container gets: none, or 0 [default: none]
    #[arg(long, env = "IMEX_CHANNEL_IDS", value_name = "IDS", value_parser = channels)]
    pub imex_channel_ids: Option<ImexChannels>,

    /// Refuse a container while the host lacks its IMEX channel; otherwise it goes without [default: false]
    #[arg(long, env = "IMEX_REQUIRED", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub imex_required: Option<bool>,
}

/// The channels that each container gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImexChannels {
    /// Whether channel 0 is one; there can be no other.
    pub zero: bool,
}

fn channels(text: &str) -> Result<ImexChannels, &'static str> {
    match text.trim_matches(['[', ']']).trim() {
        "" => Ok(ImexChannels { zero: false }),
        "0" => Ok(ImexChannels { zero: true }),
        _ => Err("only channel 0 can be given, or none"),
    }
}
