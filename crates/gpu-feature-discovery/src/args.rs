//! The command line. Text to values; what they mean together is decided in `config`.
//!
//! Every flag of NVIDIA's gpu-feature-discovery is one here, too, and every variable of it works, so that an existing
//! DaemonSet does after a change of image.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args as ClapArgs, CommandFactory, FromArgMatches, Parser, Subcommand};
use daemon::{Given, given, is_called, strongest, without_empty_variable, word};
use gpu_config::{MigStrategy, SleepInterval};
use node_driver::{DriverArgs, DriverPaths, NvmlArgs};

use crate::facts::Group;

mod compat;
mod outputs;

pub use compat::{Defaults, UnsupportedArgs};
pub use outputs::{Format, ObjectOwner, OutputArgs, OutputWord};

/// A name of the program under which it stands in for NVIDIA's, whose own name is ours, too.
const THEIRS: &str = "nvidia-gpu-feature-discovery";

/// NVIDIA's second name of a variable, which counts before the first where it says something: (flag, variable).
const OTHER_VARIABLES: [(&str, &str); 4] = [
    ("mig_strategy", "GFD_MIG_STRATEGY"),
    ("fail_on_init_error", "GFD_FAIL_ON_INIT_ERROR"),
    ("config_file", "GFD_CONFIG_FILE"),
    ("use_node_feature_api", "GFD_USE_NODE_FEATURE_API"),
];

const EXAMPLES: &str = "\
Examples:
  gpu-feature-discovery --oneshot --output stdout        the labels of this machine
  gpu-feature-discovery --oneshot --output stdout --format json
  gpu-feature-discovery --node-name NODE                 keep them on the Node until told to stop
  gpu-feature-discovery --output file                    give them to Node Feature Discovery
  gpu-feature-discovery --node-name NODE uninstall       take them off again
  nvml-sim run --dir NODE -- gpu-feature-discovery --oneshot --output stdout
                                                         those of a simulated node

Readiness and metrics: http://ADDRESS:9402/ready, /metrics
Exit codes: 0 ended as asked, 1 failed, 2 bad usage or configuration";

/// Gives a node the labels that say what its NVIDIA GPUs are.
///
/// Without a subcommand it keeps them right until it is told to stop. What is missing, such as the driver, is waited for,
/// and /ready says what that is. Labels stay when it ends.
#[derive(Debug, Parser)]
#[command(name = "gpu-feature-discovery", version, after_help = EXAMPLES)]
pub struct Args {
    /// What to do instead
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Where things are
    #[command(flatten)]
    pub paths: PathArgs,
    /// What to label, and how
    #[command(flatten)]
    pub labels: LabelArgs,
    /// Where labels go
    #[command(flatten)]
    pub outputs: OutputArgs,
    /// What is not supported
    #[command(flatten)]
    pub unsupported: UnsupportedArgs,
    /// What all daemons have
    #[command(flatten)]
    pub runtime: daemon::RuntimeArgs,
}

/// Subcommands.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Take the labels off again: from the Node, the NodeFeature object or the file, as --output says
    ///
    /// Exactly what this program put there goes. Stop its instance on the node first.
    Uninstall,
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Where things are.
#[derive(Debug, Default, ClapArgs)]
#[command(next_help_heading = "Paths")]
pub struct PathArgs {
    /// Where the driver is
    #[command(flatten)]
    pub driver: DriverArgs,

    /// Config file, YAML or JSON, the same as the device plugin's; read again when it changes
    #[arg(long, env = "CONFIG_FILE", value_name = "FILE")]
    pub config_file: Option<PathBuf>,

    /// Folder for what outlives the process: the last config that could be used, the last labels
    /// [default: /var/lib/gantry/feature-discovery on the host]
    #[arg(long, env = "GANTRY_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// The file with the machine's product name [default: the host's /sys/class/dmi/id/product_name]
    #[arg(long, env = "GFD_MACHINE_TYPE_FILE", value_name = "FILE")]
    pub machine_type_file: Option<PathBuf>,
}

/// What to label, and how.
#[derive(Debug, Default, ClapArgs)]
#[command(next_help_heading = "Behaviour; a flag counts before its variable, both before the config file")]
pub struct LabelArgs {
    /// What MIG devices become: none, single or mixed, as the device plugin has it [default: the config file's, then none]
    #[arg(long, env = "MIG_STRATEGY", value_name = "STRATEGY", value_parser = word::<MigStrategy>)]
    pub mig_strategy: Option<MigStrategy>,

    /// Groups of labels beyond the usual ones, with commas: ecc, nvlink, pcie, numa, power, driver-flavour, gsp,
    /// confidential-compute, mig-room, fabric
    #[arg(long, env = "GANTRY_LABEL_GROUPS", value_name = "GROUPS", value_delimiter = ',')]
    pub label_groups: Vec<Group>,

    /// Look once, hand the labels out, and end
    #[arg(long, env = "GFD_ONESHOT", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub oneshot: Option<bool>,

    /// Time between two looks that nothing else asks for, such as 60s, or infinite [default: the config file's, then 60s]
    #[arg(long, env = "GFD_SLEEP_INTERVAL", value_name = "DURATION")]
    pub sleep_interval: Option<SleepInterval>,

    /// Leave out nvidia.com/gfd.timestamp, the time of the program's start [default: the config file's, then true; with
    /// --compat false]
    #[arg(long, env = "GFD_NO_TIMESTAMP", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub no_timestamp: Option<bool>,

    /// Exit with code 1 when there is no driver at the start, or NVML cannot be initialised; otherwise it is waited for
    /// [default: the config file's, then false; with --compat true]
    #[arg(long, env = "FAIL_ON_INIT_ERROR", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub fail_on_init_error: Option<bool>,

    /// How long NVML may take
    #[command(flatten)]
    pub nvml: NvmlArgs,

    /// Stand in for NVIDIA's gpu-feature-discovery: its defaults, its labels and no others, and what has no effect is a
    /// warning, not an error. So does the program when it is called nvidia-gpu-feature-discovery
    #[arg(long, env = "GANTRY_COMPAT")]
    pub compat: bool,
}

/// Where things are, each said once at most.
#[derive(Debug)]
pub struct Paths {
    /// Where the driver is.
    pub driver: DriverPaths,
    /// The config file.
    pub config_file: Option<Given>,
    /// The folder for what outlives the process.
    pub state_dir: Option<Given>,
    /// The file with the machine's product name.
    pub machine_type_file: Option<Given>,
    /// The client's credentials.
    pub kubeconfig: Option<Given>,
}

/// The command line as it is meant.
#[derive(Debug)]
pub struct CommandLine {
    /// What to do instead of keeping labels.
    pub command: Option<Command>,
    /// Where things are.
    pub paths: Paths,
    /// What to label, and how.
    pub labels: LabelArgs,
    /// Where labels go.
    pub outputs: OutputArgs,
    /// What is not supported.
    pub unsupported: UnsupportedArgs,
    /// What holds where nobody says anything.
    pub defaults: Defaults,
    /// What all daemons have.
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
        let mut definition =
            Args::definition().mut_args(with_other_variable).mut_args(without_empty_variable);
        let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
        let is_theirs = is_called(&words, THEIRS);
        let matches = definition.try_get_matches_from_mut(words)?;
        let Args { command, paths, labels, outputs, unsupported, runtime } =
            Args::from_arg_matches(&matches)?;
        let one = |id: &str, path: Option<PathBuf>| strongest(vec![given(&matches, &definition, id, path)]);
        let paths = Paths {
            config_file: one("config_file", paths.config_file),
            state_dir: one("state_dir", paths.state_dir),
            machine_type_file: one("machine_type_file", paths.machine_type_file),
            kubeconfig: one("kubeconfig", outputs.kubeconfig.clone()),
            driver: paths.driver.settle(&matches, &definition),
        };
        let defaults = Defaults::new(labels.compat || is_theirs);
        Ok(CommandLine { command, paths, labels, outputs, unsupported, defaults, runtime })
    }
}

/// NVIDIA has two variables for some things.
fn with_other_variable(arg: clap::Arg) -> clap::Arg {
    let other = OTHER_VARIABLES.iter().find(|(id, _)| arg.get_id() == id).map(|(_, variable)| *variable);
    let says = |variable: &&str| std::env::var_os(variable).is_some_and(|value| !value.is_empty());
    match other.filter(says) {
        Some(variable) => arg.env(variable),
        None => arg,
    }
}
