//! The flags about the driver. Text to values; what they mean together is in `paths`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgMatches, Args, Command};
use daemon::{ConfigError, Given, between, parse_duration, strongest};

use crate::paths::{DriverPaths, Place};

/// What the simulated driver's library reads; passed on to the workers, which inherit nothing.
pub(crate) const SIMULATOR_VARIABLE: &str = "NVML_SIM_DIR";

/// Longest pause after a crash of the NVML library. A driver that is half installed crashes it too, and the whole one is
/// to be picked up within 10 s, the pause between two searches included.
const LONGEST_BACKOFF: Duration = Duration::from_secs(7);

/// Where the driver is.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Paths")]
pub struct DriverArgs {
    /// Root of the driver's files, as this process sees it, below the host's root [default: the host's, then
    /// /run/nvidia/driver on it]
    #[arg(long, env = "GANTRY_DRIVER_ROOT", value_name = "DIR")]
    pub driver_root: Option<PathBuf>,

    /// NVIDIA's name for the same, as the host names it
    #[arg(long, env = "NVIDIA_DRIVER_ROOT", value_name = "DIR", hide = true)]
    pub nvidia_driver_root: Option<PathBuf>,

    /// Where this process sees the driver root; --driver-root is then the host's name of it
    #[arg(
        long,
        env = "GANTRY_DRIVER_ROOT_CTR_PATH",
        value_name = "DIR",
        visible_alias = "container-driver-root"
    )]
    pub driver_root_ctr_path: Option<PathBuf>,

    /// NVIDIA's variable for the same
    #[arg(long, env = "DRIVER_ROOT_CTR_PATH", value_name = "DIR", hide = true)]
    pub nvidia_driver_root_ctr_path: Option<PathBuf>,

    /// NVIDIA's other variable for the same
    #[arg(long, env = "CONTAINER_DRIVER_ROOT", value_name = "DIR", hide = true)]
    pub nvidia_container_driver_root: Option<PathBuf>,

    /// Root whose /dev has the device nodes [default: the driver root if it has them, else the host's]
    #[arg(long, env = "GANTRY_DEV_ROOT", value_name = "DIR")]
    pub dev_root: Option<PathBuf>,

    /// NVIDIA's name for the same, as the host names it
    #[arg(long, env = "NVIDIA_DEV_ROOT", value_name = "DIR", hide = true)]
    pub nvidia_dev_root: Option<PathBuf>,

    /// The NVML library, instead of the one in the driver root
    #[arg(long, env = "GANTRY_NVML_LIBRARY", value_name = "FILE")]
    pub nvml_library: Option<PathBuf>,
}

impl DriverArgs {
    /// Leaves of each group of names the one that counts.
    pub fn settle(self, matches: &ArgMatches, command: &Command) -> DriverPaths {
        let given = |id: &str, path: Option<PathBuf>| daemon::given(matches, command, id, path);
        let place = |ours: Option<(_, Given)>, theirs: Option<(_, Given)>| {
            let ours = ours.map(|(source, given)| (source, Place::Local(given)));
            let theirs = theirs.map(|(source, given)| (source, Place::Host(given)));
            strongest(vec![ours, theirs])
        };
        DriverPaths {
            driver_root: place(
                given("driver_root", self.driver_root),
                given("nvidia_driver_root", self.nvidia_driver_root),
            ),
            driver_root_ctr_path: strongest(vec![
                given("driver_root_ctr_path", self.driver_root_ctr_path),
                given("nvidia_driver_root_ctr_path", self.nvidia_driver_root_ctr_path),
                given("nvidia_container_driver_root", self.nvidia_container_driver_root),
            ]),
            dev_root: place(given("dev_root", self.dev_root), given("nvidia_dev_root", self.nvidia_dev_root)),
            nvml_library: strongest(vec![given("nvml_library", self.nvml_library)]),
        }
    }
}

/// How long NVML may take.
#[derive(Clone, Copy, Debug, Default, Args)]
#[command(next_help_heading = "Behaviour")]
pub struct NvmlArgs {
    /// How long one NVML call may make no progress before its worker is given up
    #[arg(long, env = "GANTRY_NVML_CALL_TIMEOUT", value_name = "DURATION", default_value = "5s", value_parser = parse_duration)]
    pub nvml_call_timeout: Duration,

    /// The same for the call that initialises NVML, which loads the driver where it does not persist
    #[arg(long, env = "GANTRY_NVML_INIT_TIMEOUT", value_name = "DURATION", default_value = "2m", value_parser = parse_duration)]
    pub nvml_init_timeout: Duration,
}

impl NvmlArgs {
    /// The settings of NVML's workers.
    ///
    /// # Errors
    /// At the first that cannot work.
    pub fn config(&self) -> Result<nvml::Config, ConfigError> {
        let (least, most) = (Duration::from_millis(100), Duration::from_secs(3600));
        between("--nvml-call-timeout", self.nvml_call_timeout, least, most)?;
        between("--nvml-init-timeout", self.nvml_init_timeout, least, most)?;
        let mut nvml = nvml::Config::default();
        nvml.deadlines.query = self.nvml_call_timeout;
        nvml.deadlines.init = self.nvml_init_timeout;
        nvml.backoff.max = LONGEST_BACKOFF;
        let simulator = std::env::var_os(SIMULATOR_VARIABLE);
        nvml.extra_env.extend(simulator.map(|dir| (SIMULATOR_VARIABLE.into(), dir)));
        Ok(nvml)
    }
}
