//! The two faces: what holds where nobody says anything, under our own name and where the program stands in for
//! NVIDIA's; and NVIDIA's flags that nothing here follows.

use clap::Args as ClapArgs;
use daemon::word;
use gpu_config::{DeviceListStrategy, DiscoveryStrategy, Mode};
use node_driver::PlaceFace;

/// What holds where nobody says anything.
#[derive(Clone, Copy, Debug)]
pub struct Face {
    /// How a config is read, and whether a setting without effect is refused.
    pub mode: Mode,
    /// How a container gets its devices.
    pub device_list_strategy: DeviceListStrategy,
    /// Whether a driver that cannot be used at the start ends the program.
    pub fail_on_init_error: bool,
    /// Whether MIG devices are packed where nobody names a policy, so that whole GPUs stay free for larger ones: unlike
    /// shares, the devices of one GPU do not slow each other down.
    pub packs_mig: bool,
    /// What names of paths mean.
    pub places: PlaceFace,
}

impl Face {
    /// Ours, or that of NVIDIA's device plugin v0.20.
    pub fn new(compat: bool) -> Face {
        if compat {
            Face {
                mode: Mode::Compat,
                device_list_strategy: DeviceListStrategy::Envvar,
                fail_on_init_error: true,
                packs_mig: false,
                places: PlaceFace::new(compat),
            }
        } else {
            Face {
                mode: Mode::Strict,
                device_list_strategy: DeviceListStrategy::CdiCri,
                fail_on_init_error: false,
                packs_mig: true,
                places: PlaceFace::new(compat),
            }
        }
    }
}

/// Flags of NVIDIA's device plugin for what is not supported. Refused where they say something; with --compat told and
/// passed over.
#[derive(Debug, Default, ClapArgs)]
#[command(next_help_heading = "NVIDIA's, not supported: refused, with --compat passed over with a warning")]
pub struct UnsupportedArgs {
    /// Folder of the MPS daemons
    #[arg(long, env = "MPS_ROOT", value_name = "DIR")]
    pub mps_root: Option<String>,

    /// Features of NVIDIA's CDI generator
    #[arg(long, env = "CDI_FEATURE_FLAGS", value_name = "FLAGS")]
    pub cdi_feature_flags: Option<String>,

    /// Hooks that NVIDIA's CDI generator leaves out. Ours has none unless --cdi-hook-path is given
    #[arg(long, env = "CDI_DISABLE_HOOKS", value_name = "HOOKS")]
    pub cdi_disable_hooks: Option<String>,

    /// How GPUs are found: auto and nvml, which are the same here; tegra is not supported with --compat either
    #[arg(long, env = "DEVICE_DISCOVERY_STRATEGY", value_name = "STRATEGY", value_parser = word::<DiscoveryStrategy>)]
    pub device_discovery_strategy: Option<DiscoveryStrategy>,
}

impl UnsupportedArgs {
    /// The flags that say something, with what they say and why nothing follows it.
    pub fn said(&self) -> Vec<(&'static str, &str, &'static str)> {
        let flags = [
            ("--mps-root", &self.mps_root, "MPS is not supported; leave it out"),
            (
                "--cdi-feature-flags",
                &self.cdi_feature_flags,
                "our CDI spec has no such features; leave it out",
            ),
            (
                "--cdi-disable-hooks",
                &self.cdi_disable_hooks,
                "our CDI spec has no hooks but with --cdi-hook-path; leave both out",
            ),
        ];
        let said = flags.into_iter().filter_map(|(name, value, hint)| Some((name, value.as_deref()?, hint)));
        said.filter(|(_, value, _)| !value.is_empty()).collect()
    }
}
