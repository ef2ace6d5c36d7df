//! The two faces: what holds where nobody says anything, under our own name and where the program stands in for
//! NVIDIA's; and NVIDIA's flags that nothing here follows.

use clap::Args;
use daemon::word;
use gpu_config::{DiscoveryStrategy, Mode};
use node_driver::PlaceFace;

use super::Format;
use crate::facts::Face;

/// What holds where nobody says anything.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    /// How a config is read, and whether a setting without effect is refused.
    pub mode: Mode,
    /// Whose labels.
    pub face: Face,
    /// Whether the label with the time is left out.
    pub no_timestamp: bool,
    /// Whether a driver that cannot be used at the start ends the program.
    pub fail_on_init_error: bool,
    /// Form of the standard output.
    pub format: Format,
    /// What names of paths mean.
    pub places: PlaceFace,
}

impl Defaults {
    /// Ours, or those of NVIDIA's gpu-feature-discovery v0.20.
    pub fn new(compat: bool) -> Defaults {
        if compat {
            Defaults {
                mode: Mode::Compat,
                face: Face::Compat,
                no_timestamp: false,
                fail_on_init_error: true,
                format: Format::Plain,
                places: PlaceFace::new(compat),
            }
        } else {
            Defaults {
                mode: Mode::Strict,
                face: Face::Native,
                no_timestamp: true,
                fail_on_init_error: false,
                format: Format::Table,
                places: PlaceFace::new(compat),
            }
        }
    }
}

/// Flags of NVIDIA's gpu-feature-discovery for what is not supported. Refused where they say something; with --compat told
/// and passed over.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "NVIDIA's, not supported: refused, with --compat passed over with a warning")]
pub struct UnsupportedArgs {
    /// Requests per second to the Kubernetes API
    #[arg(long, env = "KUBE_API_QPS", value_name = "NUMBER")]
    pub kube_api_qps: Option<String>,

    /// The same for a short while
    #[arg(long, env = "KUBE_API_BURST", value_name = "NUMBER")]
    pub kube_api_burst: Option<String>,

    /// How GPUs are found: auto and nvml, which are the same here; tegra and vfio are not supported with --compat either
    #[arg(long, env = "DEVICE_DISCOVERY_STRATEGY", value_name = "STRATEGY", value_parser = word::<DiscoveryStrategy>)]
    pub device_discovery_strategy: Option<DiscoveryStrategy>,
}

impl UnsupportedArgs {
    /// The flags that say something, with what they say and why nothing follows it.
    pub fn said(&self) -> Vec<(&'static str, &str, &'static str)> {
        let hint =
            "nothing is asked of the API while labels stand, so there is nothing to limit; leave it out";
        let flags = [("--kube-api-qps", &self.kube_api_qps), ("--kube-api-burst", &self.kube_api_burst)];
        flags.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?, hint))).collect()
    }
}
