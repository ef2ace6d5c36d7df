//! The command line. Text to values; what they mean together is decided in `config`.
//!
//! Flags that stay unset are `Option`s, because `config` alone knows the defaults. Where NVIDIA's device plugin has
//! a flag or a variable for the same thing, that name works too, so that an existing DaemonSet does after a change
//! of image; which one counts where several are given is decided in `given`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args as ClapArgs, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use daemon::{is_called, parse_duration, without_empty_variable, word};
use gpu_config::{MOST_DAEMONS, MigStrategy, SharedPolicy};
use node_driver::{DriverArgs, NvmlArgs};

mod compat;
mod given;
mod health;
mod injection;
mod lease;

/// The program of NVIDIA's that this one can stand in for.
const THEIRS: &str = "nvidia-device-plugin";

pub use compat::{Face, UnsupportedArgs};
pub use given::{Kubelet, Paths};
pub use health::{HealthCommand, PersonArgs};
pub use injection::InjectionArgs;
pub use lease::{HoldArgs, LeaseCommand, ReleaseArgs};

/// Offers a node's NVIDIA GPUs to the kubelet as nvidia.com/gpu, and injects them by CDI.
///
/// Without a subcommand it serves until it is told to stop. It needs the kubelet's plugin folder, the folder of CDI
/// specs, the driver's files and the container runtime's socket; whatever is missing is waited for, and /ready says
/// what that is.
#[derive(Debug, Parser)]
#[command(name = "gpu-device-plugin", version, after_help = EXAMPLES)]
pub struct Args {
    /// What to do instead of serving
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Where things are
    #[command(flatten)]
    pub paths: PathArgs,
    /// How to behave
    #[command(flatten)]
    pub behaviour: BehaviourArgs,
    /// How a container gets its devices
    #[command(flatten)]
    pub injection: InjectionArgs,
    /// What is not supported
    #[command(flatten)]
    pub unsupported: UnsupportedArgs,
    /// What all daemons have
    #[command(flatten)]
    pub runtime: daemon::RuntimeArgs,
}

impl Args {
    /// The command line's definition. Flags may stand before a subcommand or behind it.
    pub fn definition() -> clap::Command {
        Args::command().mut_args(|arg| arg.global(true))
    }

    /// Reads the process's command line; ends the process with code 2 on bad usage.
    pub fn read() -> CommandLine {
        Args::try_read(std::env::args_os()).unwrap_or_else(|error| error.exit())
    }

    /// Reads a command line, its first word the program's name.
    ///
    /// # Errors
    /// On bad usage, and where help or version was asked for.
    pub fn try_read<W: Into<OsString> + Clone>(
        words: impl IntoIterator<Item = W>,
    ) -> Result<CommandLine, clap::Error> {
        let mut definition = Args::definition().mut_args(without_empty_variable);
        let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
        let is_theirs = is_called(&words, THEIRS);
        let matches = definition.try_get_matches_from_mut(words)?;
        let Args { command, paths, behaviour, injection, unsupported, runtime } =
            Args::from_arg_matches(&matches)?;
        let face = Face::new(behaviour.compat || is_theirs);
        let paths = paths.settle(&matches, &mut definition)?;
        Ok(CommandLine { command, paths, behaviour, injection, unsupported, face, runtime })
    }
}

/// The command line as it is meant.
#[derive(Debug)]
pub struct CommandLine {
    /// What to do instead of serving.
    pub command: Option<Command>,
    /// Where things are.
    pub paths: Paths,
    /// How to behave.
    pub behaviour: BehaviourArgs,
    /// How a container gets its devices.
    pub injection: InjectionArgs,
    /// What is not supported.
    pub unsupported: UnsupportedArgs,
    /// What holds where nobody says anything.
    pub face: Face,
    /// What all daemons have.
    pub runtime: daemon::RuntimeArgs,
}

const EXAMPLES: &str = "\
Examples:
  gpu-device-plugin                                    serve on this node
  gpu-device-plugin --driver-root /run/nvidia/driver   the driver is in a driver container
  gpu-device-plugin --host-root /host --driver-root /host/run/nvidia/driver
                                                       the same from a container that has the host at /host
  gpu-device-plugin devices --output json              what the driver lists here
  gpu-device-plugin check config.yaml                  what is wrong with a config file
  gpu-device-plugin explain --config config.yaml       what it would do here
  gpu-device-plugin lease hold --gpu all --purpose 'driver upgrade' -- COMMAND
                                                       run COMMAND while nothing of Gantry uses a GPU
  nvml-sim run --dir NODE -- gpu-device-plugin devices the same on a simulated node

Readiness and metrics: http://ADDRESS:9401/ready, /metrics
Exit codes: 0 ended as asked, 1 failed, 2 bad usage or configuration";

/// Subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the GPUs that the driver shows, as the plugin would offer them
    Devices {
        /// Form of the list
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Say whether a config file can be used, and what is wrong with it
    ///
    /// It looks at no GPU. With --compat it is judged as NVIDIA's device plugin would. Exit code 2 if the file cannot be
    /// used.
    Check {
        /// The file; - for the standard input
        file: PathBuf,
        /// Form of the answer
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Show the health of GPUs, take one out of service, or bring it back
    Health {
        /// What is wanted
        #[command(subcommand)]
        command: HealthCommand,
    },
    /// Take GPUs out of service for a driver upgrade or another change, and see who has
    Lease {
        /// What is wanted
        #[command(subcommand)]
        command: LeaseCommand,
    },
    /// Say what a config file would do: resources, ids, what a container would get, and what may not be as it was meant
    ///
    /// It changes nothing. With --compat it also says what would be otherwise without. Exit code 2 if the file would not be
    /// taken over.
    Explain {
        /// The config file, instead of --config-file
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The node: live for this one, or a file that `devices --output json` printed
        #[arg(long, value_name = "live|FILE", default_value = crate::explain::LIVE)]
        node: String,
        /// Form of the answer
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Form of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// Where things are.
#[derive(Debug, Default, ClapArgs)]
#[command(next_help_heading = "Paths")]
pub struct PathArgs {
    /// The kubelet's folder; its plugins are in device-plugins below it [default: /var/lib/kubelet on the host]
    #[arg(long, env = "GANTRY_KUBELET_DIR", value_name = "DIR")]
    pub kubelet_dir: Option<PathBuf>,

    /// The kubelet's registration socket, if it is not device-plugins/kubelet.sock in its folder
    #[arg(long, env = "GANTRY_KUBELET_SOCKET", value_name = "PATH")]
    pub kubelet_socket: Option<PathBuf>,

    /// NVIDIA's variable for the same
    #[arg(long, env = "KUBELET_SOCKET", value_name = "PATH", hide = true)]
    pub nvidia_kubelet_socket: Option<PathBuf>,

    /// The kubelet's pod resources socket, which tells what pods hold [default: pod-resources/kubelet.sock beside the
    /// kubelet's device-plugins]
    #[arg(long, env = "GANTRY_POD_RESOURCES_SOCKET", value_name = "PATH")]
    pub pod_resources_socket: Option<PathBuf>,

    /// Where the driver is
    #[command(flatten)]
    pub driver: DriverArgs,

    /// Config file, YAML or JSON; read again when it changes. `check FILE` says what is wrong with one
    #[arg(long, env = "CONFIG_FILE", value_name = "FILE")]
    pub config_file: Option<PathBuf>,

    /// Folder for what outlives the process: the last config that could be used, the health of GPUs, what pods hold
    /// [default: /var/lib/gantry/device-plugin on
    /// the host]
    #[arg(long, env = "GANTRY_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// nvidia-cdi-hook or nvidia-ctk of NVIDIA's container toolkit, as the host names it: containers then get what only
    /// hooks give [default: no hooks]
    #[arg(long, env = "GANTRY_CDI_HOOK_PATH", value_name = "FILE")]
    pub cdi_hook_path: Option<PathBuf>,

    /// NVIDIA's name for the same
    #[arg(long, env = "NVIDIA_CDI_HOOK_PATH", value_name = "FILE", hide = true)]
    pub nvidia_cdi_hook_path: Option<PathBuf>,

    /// NVIDIA's other name for the same
    #[arg(long, env = "NVIDIA_CTK_PATH", value_name = "FILE", hide = true)]
    pub nvidia_ctk_path: Option<PathBuf>,

    /// Folder for our CDI spec [default: /var/run/cdi on the host]
    #[arg(long, env = "GANTRY_CDI_DIR", value_name = "DIR")]
    pub cdi_dir: Option<PathBuf>,

    /// The socket of the kubelet's container runtime [default: those of containerd, CRI-O and k3s, and each runtime that
    /// answers has to be proven]
    #[arg(long, env = "GANTRY_CRI_SOCKET", value_name = "PATH")]
    pub cri_socket: Option<PathBuf>,
}

/// How to behave.
#[derive(Debug, Default, ClapArgs)]
#[command(next_help_heading = "Behaviour")]
pub struct BehaviourArgs {
    /// How it is known that the container runtime resolves CDI names. One that does not starts pods without their GPUs
    #[arg(long, env = "GANTRY_CDI_PROOF", value_name = "HOW", value_enum, default_value_t)]
    pub cdi_proof: CdiProofMode,

    /// Time between two probes of all GPUs, 1s to 1h
    #[arg(long, env = "GANTRY_PROBE_INTERVAL", value_name = "DURATION", default_value = "15s", value_parser = parse_duration)]
    pub probe_interval: Duration,

    /// How long NVML may take
    #[command(flatten)]
    pub nvml: NvmlArgs,

    /// What MIG devices become: none (each GPU is offered whole), single (nvidia.com/gpu) or mixed
    /// (nvidia.com/mig-PROFILE) [default: the config file's, then none]
    #[arg(long, env = "MIG_STRATEGY", value_name = "STRATEGY", value_parser = word::<MigStrategy>)]
    pub mig_strategy: Option<MigStrategy>,

    /// Which of several shares or MIG devices a container gets: distributed (of the GPU with the fewest taken) or packed
    /// (of the one with the most) [default: the config file's, then distributed for shares and packed for MIG devices; with
    /// --compat distributed for both]
    #[arg(long, env = "SHARED_DEVICES_ALLOCATION_POLICY", value_name = "POLICY", value_parser = word::<SharedPolicy>)]
    pub shared_devices_allocation_policy: Option<SharedPolicy>,

    /// Stand in for NVIDIA's device plugin: its defaults, and what has no effect there is a warning, not an error. So
    /// does the program when it is called nvidia-device-plugin
    #[arg(long, env = "GANTRY_COMPAT")]
    pub compat: bool,

    /// Offer gantry.dev/gpu-management to so many daemons of the node at once, 16 where no number is given: each gets the
    /// control nodes and those of all GPUs, so that it need not be privileged [default: the config file's, then 0: none]
    #[arg(long, env = "GANTRY_GPU_MANAGEMENT", value_name = "NUMBER", num_args = 0..=1, require_equals = true, default_missing_value = "16", value_parser = clap::value_parser!(u32).range(..=i64::from(MOST_DAEMONS)))]
    pub gpu_management: Option<u32>,

    /// XIDs that have no effect, by number; xids for all of them; all: nothing but a fence takes a GPU away, and what
    /// would is told as Degraded
    #[arg(long, env = "DP_DISABLE_HEALTHCHECKS", value_name = "LIST")]
    pub disable_healthchecks: Option<String>,

    /// XIDs that take their GPU whatever their class, by number, or all; this wins over the one above
    #[arg(long, env = "DP_ENABLE_HEALTHCHECKS", value_name = "LIST")]
    pub enable_healthchecks: Option<String>,

    /// Classes of XIDs that differ from the built-in table, such as 109=critical,63=notice: application, notice, degraded,
    /// ask-driver, ask-driver-first or critical
    #[arg(long, env = "GANTRY_XID_CLASSES", value_name = "LIST")]
    pub xid_classes: Option<String>,

    /// Exit with code 1 when there is no driver at the start, or NVML cannot be initialised; otherwise it is waited for
    /// [default: the config file's, then false; with --compat true]
    #[arg(long, env = "FAIL_ON_INIT_ERROR", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub fail_on_init_error: Option<bool>,
}

/// How CDI is proven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum CdiProofMode {
    /// The container runtime is asked over its CRI socket.
    #[default]
    Auto,
    /// You know that the runtime resolves CDI names in this folder. For runtimes that cannot be asked.
    Assume,
}
