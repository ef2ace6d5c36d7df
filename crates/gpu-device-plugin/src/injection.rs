//! How a container gets its devices: the settings of that, resolved. Pure: flags and file in, one value out.
//!
//! A setting that cannot be is refused by the name under which it was given. One that has no effect beside the others is
//! refused too, or told where the program stands in for NVIDIA's, which passes over it.

use gpu_config::{Config, DeviceIdStrategy, DeviceListStrategy, Imex, Mode};
use thiserror::Error;

use crate::annotation;

/// Prefix of annotations that container runtimes read for CDI names, by CDI's own convention.
const ANNOTATION_PREFIX: &str = "cdi.k8s.io/";

/// What flags and variables say; none where they say nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct InjectionFlags {
    /// How a container gets its devices.
    pub strategies: Option<Vec<DeviceListStrategy>>,
    /// What a device is called towards the container runtime.
    pub id_strategy: Option<DeviceIdStrategy>,
    /// Whether the kubelet is told the device nodes.
    pub pass_device_specs: Option<bool>,
    /// Prefix of the annotation with CDI names.
    pub annotation_prefix: Option<String>,
    /// Whether containers get GPUDirect Storage.
    pub gds: Option<bool>,
    /// Whether containers get GDRCopy.
    pub gdrcopy: Option<bool>,
    /// Whether containers get InfiniBand.
    pub mofed: Option<bool>,
    /// Whether containers get IMEX channel 0.
    pub imex_channel: Option<bool>,
    /// Whether a container without its channel is refused.
    pub imex_required: Option<bool>,
    /// The strategy where nobody says one.
    pub default_strategy: DeviceListStrategy,
    /// Whether a setting without effect is refused or told.
    pub mode: Mode,
}

impl Default for InjectionFlags {
    fn default() -> Self {
        Self {
            strategies: None,
            id_strategy: None,
            pass_device_specs: None,
            annotation_prefix: None,
            gds: None,
            gdrcopy: None,
            mofed: None,
            imex_channel: None,
            imex_required: None,
            default_strategy: DeviceListStrategy::CdiCri,
            mode: Mode::Strict,
        }
    }
}

/// How a container gets its devices.
#[derive(Clone, Debug, PartialEq)]
pub struct Injection {
    /// By which ways; never empty, each named once.
    strategies: Vec<DeviceListStrategy>,
    /// What a device is called outside CDI, whose names are always UUIDs.
    pub id_strategy: DeviceIdStrategy,
    /// Whether the kubelet is told the device nodes.
    pub pass_device_specs: bool,
    /// Prefix of the annotation with CDI names; with a name behind it a legal key.
    pub annotation_prefix: String,
    /// Whether containers get GPUDirect Storage.
    pub gds: bool,
    /// Whether containers get GDRCopy.
    pub gdrcopy: bool,
    /// Whether containers get InfiniBand.
    pub mofed: bool,
    /// Which IMEX channel containers get, and what becomes of them without it.
    pub imex: Imex,
    /// Settings without effect, each with the reason in words.
    pub without_effect: Vec<String>,
}

/// What of the host has to be known before a device can be handed out; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Nothing: whoever injects finds it.
    Nothing,
    /// What it has beside GPUs, as far as that can be had.
    Companions,
    /// The paths of the device nodes.
    Nodes,
    /// The CDI spec on disk.
    Spec,
}

/// A setting that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{name} {value:?}: {hint}")]
pub struct InjectionError {
    /// The flag or the key.
    pub name: &'static str,
    /// Its value.
    pub value: String,
    /// What would be right.
    pub hint: String,
}

impl Default for Injection {
    fn default() -> Self {
        Self {
            strategies: vec![DeviceListStrategy::CdiCri],
            id_strategy: DeviceIdStrategy::Uuid,
            pass_device_specs: false,
            annotation_prefix: ANNOTATION_PREFIX.to_owned(),
            gds: false,
            gdrcopy: false,
            mofed: false,
            imex: Imex::default(),
            without_effect: Vec::new(),
        }
    }
}

impl Injection {
    /// What flags and a config file together say.
    ///
    /// # Errors
    /// At the first setting that cannot be.
    pub fn new(flags: &InjectionFlags, file: &Config) -> Result<Self, InjectionError> {
        let (plugin, shared) = (&file.flags.plugin, &file.flags);
        let strategies = flags.strategies.as_ref().or(plugin.device_list_strategies.as_ref());
        let mut injection = Self {
            strategies: unique(strategies.map_or(&[flags.default_strategy][..], Vec::as_slice)),
            id_strategy: flags.id_strategy.or(plugin.device_id_strategy).unwrap_or(DeviceIdStrategy::Uuid),
            pass_device_specs: flags.pass_device_specs.or(plugin.pass_device_specs).unwrap_or(false),
            annotation_prefix: flags
                .annotation_prefix
                .clone()
                .or_else(|| plugin.cdi_annotation_prefix.clone())
                .filter(|prefix| !prefix.is_empty())
                .unwrap_or_else(|| ANNOTATION_PREFIX.to_owned()),
            gds: flags.gds.or(shared.gds).unwrap_or(false),
            gdrcopy: flags.gdrcopy.or(shared.gdrcopy).unwrap_or(false),
            mofed: flags.mofed.or(shared.mofed).unwrap_or(false),
            imex: Imex {
                channel: flags.imex_channel.unwrap_or(file.imex.channel),
                required: flags.imex_required.unwrap_or(file.imex.required),
            },
            without_effect: Vec::new(),
        };
        injection.judge(flags)?;
        Ok(injection)
    }

    fn judge(&mut self, flags: &InjectionFlags) -> Result<(), InjectionError> {
        let named = |is_flag: bool, flag, key| if is_flag { flag } else { key };
        if !annotation::is_prefix(&self.annotation_prefix) {
            let is_flag = flags.annotation_prefix.is_some();
            return Err(InjectionError {
                name: named(is_flag, "--cdi-annotation-prefix", "flags.plugin.cdiAnnotationPrefix"),
                value: self.annotation_prefix.clone(),
                hint: "a domain and a slash are needed, such as cdi.k8s.io/".to_owned(),
            });
        }
        if self.strategies.is_empty() {
            return Err(InjectionError {
                name: "--device-list-strategy",
                value: String::new(),
                hint: "name one or more of envvar, volume-mounts, cdi-annotations, cdi-cri".to_owned(),
            });
        }
        let mut idle = Vec::new();
        if self.imex.required && !self.imex.channel {
            let is_flag = flags.imex_required.is_some();
            let hint =
                "nothing is required without a channel; give --imex-channel-ids 0 (imex.channelIDs: [0])";
            idle.push((named(is_flag, "--imex-required", "imex.required"), "true", hint));
        }
        let only_cdi = "has no effect where all devices are injected by CDI; add envvar or volume-mounts to --device-list-strategy, or leave it out";
        if self.is_all_cdi() && self.pass_device_specs {
            let is_flag = flags.pass_device_specs.is_some();
            let name = named(is_flag, "--pass-device-specs", "flags.plugin.passDeviceSpecs");
            idle.push((name, "true", only_cdi));
        }
        if self.is_all_cdi() && self.id_strategy == DeviceIdStrategy::Index {
            let is_flag = flags.id_strategy.is_some();
            let name = named(is_flag, "--device-id-strategy", "flags.plugin.deviceIDStrategy");
            idle.push((name, "index", only_cdi));
        }
        let idle = idle.into_iter().map(|(name, value, hint)| InjectionError {
            name,
            value: value.to_owned(),
            hint: hint.to_owned(),
        });
        for error in idle {
            match flags.mode {
                Mode::Strict => return Err(error),
                Mode::Compat => self.without_effect.push(error.to_string()),
            }
        }
        Ok(())
    }

    /// The ways, each once, in the order given.
    pub fn strategies(&self) -> &[DeviceListStrategy] {
        &self.strategies
    }

    /// Whether devices are injected in this way, among others.
    pub fn is_by(&self, strategy: DeviceListStrategy) -> bool {
        self.strategies.contains(&strategy)
    }

    /// Whether CDI names are handed out.
    pub fn uses_cdi(&self) -> bool {
        self.strategies.iter().any(is_cdi)
    }

    /// Whether nothing but CDI names is handed out.
    pub fn is_all_cdi(&self) -> bool {
        self.strategies.iter().all(is_cdi)
    }

    /// Whether the kubelet is told device nodes. Beside CDI alone it is not, as with NVIDIA's device plugin.
    pub fn passes_nodes(&self) -> bool {
        self.pass_device_specs && !self.is_all_cdi()
    }

    /// What of the host has to be known before a device can be handed out.
    pub fn need(&self) -> Need {
        if self.uses_cdi() {
            Need::Spec
        } else if self.passes_nodes() {
            Need::Nodes
        } else if self.imex.channel {
            Need::Companions
        } else {
            Need::Nothing
        }
    }
}

fn is_cdi(strategy: &DeviceListStrategy) -> bool {
    matches!(strategy, DeviceListStrategy::CdiAnnotations | DeviceListStrategy::CdiCri)
}

fn unique(strategies: &[DeviceListStrategy]) -> Vec<DeviceListStrategy> {
    let mut unique = Vec::new();
    for strategy in strategies {
        if !unique.contains(strategy) {
            unique.push(*strategy);
        }
    }
    unique
}

#[cfg(test)]
pub(crate) mod tests {
    use gpu_config::read;

    use super::*;

    pub(crate) fn file(text: &str) -> Config {
        read("test", text, Mode::Strict).unwrap().config
    }

    const EVERYTHING: &str = "
flags:
  gdrcopyEnabled: true
  gdsEnabled: true
  mofedEnabled: true
  plugin:
    deviceListStrategy: [volume-mounts, volume-mounts]
    deviceIDStrategy: index
    passDeviceSpecs: true
    cdiAnnotationPrefix: nvidia.cdi.k8s.io/
imex: {channelIDs: [0], required: true}
";

    #[test]
    fn each_setting_is_the_flags_then_the_files_then_the_default() {
        let default = Injection::new(&InjectionFlags::default(), &Config::default()).unwrap();
        assert_eq!(default, Injection::default());

        let of_file = Injection::new(&InjectionFlags::default(), &file(EVERYTHING)).unwrap();
        let said = Injection {
            strategies: vec![DeviceListStrategy::VolumeMounts],
            id_strategy: DeviceIdStrategy::Index,
            pass_device_specs: true,
            annotation_prefix: "nvidia.cdi.k8s.io/".into(),
            gds: true,
            gdrcopy: true,
            mofed: true,
            imex: Imex { channel: true, required: true },
            without_effect: vec![],
        };
        assert_eq!(of_file, said);

        let flags = InjectionFlags {
            strategies: Some(vec![DeviceListStrategy::Envvar]),
            id_strategy: Some(DeviceIdStrategy::Uuid),
            pass_device_specs: Some(false),
            annotation_prefix: Some("example.com/".into()),
            gds: Some(false),
            gdrcopy: Some(false),
            mofed: Some(false),
            imex_channel: Some(false),
            imex_required: Some(false),
            ..InjectionFlags::default()
        };
        let of_flags = Injection::new(&flags, &file(EVERYTHING)).unwrap();
        let said = Injection {
            strategies: vec![DeviceListStrategy::Envvar],
            annotation_prefix: "example.com/".into(),
            ..Injection::default()
        };
        assert_eq!(of_flags, said);
    }

    #[test]
    fn setting_without_effect_is_refused_by_its_name_or_told_where_nvidias_would_pass_over_it() {
        for (text, name) in [
            ("flags: {plugin: {passDeviceSpecs: true}}", "flags.plugin.passDeviceSpecs \"true\""),
            ("flags: {plugin: {deviceIDStrategy: index}}", "flags.plugin.deviceIDStrategy \"index\""),
        ] {
            let refusal = Injection::new(&InjectionFlags::default(), &file(text)).unwrap_err().to_string();
            assert!(refusal.starts_with(name), "{refusal}");
            let compat = InjectionFlags { mode: Mode::Compat, ..InjectionFlags::default() };
            let told = Injection::new(&compat, &file(text)).unwrap().without_effect;
            assert_eq!(told, [refusal]);
        }
        let required = InjectionFlags { imex_required: Some(true), ..InjectionFlags::default() };
        let refusal = Injection::new(&required, &Config::default()).unwrap_err().to_string();
        assert!(refusal.contains("--imex-required") && refusal.contains("--imex-channel-ids 0"), "{refusal}");
    }

    #[test]
    fn need_of_the_host_follows_from_the_ways() {
        let need = |text: &str| Injection::new(&InjectionFlags::default(), &file(text)).unwrap().need();
        let plugin = |text: &str| need(&format!("flags: {{plugin: {{{text}}}}}"));
        assert_eq!(plugin("deviceListStrategy: envvar"), Need::Nothing);
        assert_eq!(plugin("deviceListStrategy: envvar, passDeviceSpecs: true"), Need::Nodes);
        assert_eq!(plugin("deviceListStrategy: [envvar, cdi-annotations]"), Need::Spec);
        assert_eq!(need("{}"), Need::Spec);
        let imex = "flags: {plugin: {deviceListStrategy: envvar}}\nimex: {channelIDs: [0]}";
        assert_eq!(need(imex), Need::Companions);
    }
}
