//! The words of the command line and their help. It knows what can be asked, not how it is done.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// Asks an NVML library, real or simulated, everything that its C interface can tell.
///
/// Only getters are called, so that nothing changes on the node; `fuzz` alone does more, to simulated ones. The library is the one that any program would load,
/// unless --library names another.
#[derive(Debug, Parser)]
#[command(name = "nvml-probe", version, after_help = EXAMPLES)]
pub struct Arguments {
    /// The NVML library: a path, or a name for which the loader searches.
    #[arg(long, global = true, value_name = "PATH", default_value = "libnvidia-ml.so.1")]
    pub library: PathBuf,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  nvml-probe walk                                    what this machine's GPUs answer
  nvml-probe walk --only Memory                      only functions whose names have that word
  nvml-sim run --dir /tmp/node -- nvml-probe walk    the same of a simulated node
  nvml-probe record --host-root / > node.yaml        this machine as a node of the simulator
  nvml-probe compare machine.json simulated.json     what two walks do not have in common
  nvml-probe check --host-root /                     whether it answers as NVML is documented
  nvml-probe bench --output json                     calls per second, time to initialise, memory";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask every getter of the node, its GPUs, MIG devices and instances.
    ///
    /// An answer is a value or a code; `missing` is a function that the library lacks, as an older driver's does. The exit
    /// code is 1 if the library wrote outside of memory that it was given.
    Walk {
        /// Read NUMA nodes, product name and NVSwitches from /sys below this root too.
        #[arg(long, value_name = "DIR")]
        host_root: Option<PathBuf>,
        /// Only functions whose name has this text, in any case.
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
        /// How.
        #[arg(long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Write a node as a file from which `nvml-sim init --file` makes it again.
    ///
    /// Each GPU is the nearest preset and what differs from it, with its MIG instances and processes. Other readings are not
    /// recorded. Without --host-root its CPUs are those that its GPUs tell.
    Record {
        /// Read NUMA nodes, product name and NVSwitches from /sys below this root too; / on the machine itself.
        #[arg(long, value_name = "DIR", conflicts_with = "walk")]
        host_root: Option<PathBuf>,
        /// Record from a file that `nvml-probe walk --output json` wrote, and ask no library.
        #[arg(long, value_name = "A.JSON")]
        walk: Option<PathBuf>,
    },
    /// Hold two walks against each other, such as that of a machine and that of its recording.
    ///
    /// Of readings only the code counts; functions that one of the libraries lacks are left out. The exit code is 1 if
    /// something differs.
    Compare {
        /// A file that `nvml-probe walk --output json` wrote.
        #[arg(value_name = "A.JSON")]
        one: PathBuf,
        /// Another one.
        #[arg(value_name = "B.JSON")]
        other: PathBuf,
        /// Only which functions and field values answer, and the codes of the others: what two machines of one kind have in
        /// common.
        #[arg(long)]
        shape: bool,
        /// How.
        #[arg(long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Measure calls per second of common getters, the time of the first initialisation, and the memory of the library.
    Bench {
        /// How long each figure is measured.
        #[arg(long, value_name = "N", default_value_t = 200)]
        milliseconds: u64,
        /// Threads that call at once in the mixed run.
        #[arg(long, value_name = "N", default_value_t = 4)]
        threads: usize,
        /// How.
        #[arg(long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Run the suite for a machine with GPUs: what its answers must have to do with each other, whether every wrong call is
    /// refused, calls per second, and what the simulator answers otherwise.
    ///
    /// Only getters are called, also wrongly, so that no setting changes. Wrong calls are made by processes of their own, and
    /// one that ends its process is told. The exit code is 1 if a rule is broken; what the simulator answers otherwise is
    /// listed alone, for its presets to be corrected.
    Check {
        /// Read NUMA nodes, product name and NVSwitches from /sys below this root too; / on the machine itself.
        #[arg(long, value_name = "DIR")]
        host_root: Option<PathBuf>,
        /// How long each figure is measured; 0 for no figures.
        #[arg(long, value_name = "N", default_value_t = 200)]
        milliseconds: u64,
        /// Record the node, make it again on this simulated library, and compare.
        #[arg(long, value_name = "PATH")]
        simulator: Option<PathBuf>,
        /// Say so in one line and succeed where there is no driver or no GPU.
        #[arg(long)]
        or_skip: bool,
        /// How.
        #[arg(long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Make the wrong calls of `check` from one on.
    #[command(hide = true)]
    Misuse {
        #[arg(long, default_value_t = 0)]
        from: usize,
    },
    /// Misuse a simulated library: drawn sequences of wrong calls, of which each must get its code and none may crash.
    ///
    /// Each sequence runs in a process of its own, with memory that ends at a page which nothing may touch. What a call
    /// must give follows from the calls before it: initialisations, handles, MIG instances and their places. A failure is
    /// told with its seed and the shortest sequence found; the exit code is then 1. MIG instances on the node are ended.
    Fuzz {
        /// What the sequences are drawn from; the same seed draws the same.
        #[arg(long, value_name = "N", default_value_t = 0)]
        seed: u64,
        /// Sequences of a seed.
        #[arg(long, value_name = "N", default_value_t = 32)]
        cases: u32,
        /// The most steps of a sequence.
        #[arg(long, value_name = "N", default_value_t = 200)]
        steps: usize,
        /// Go on with further seeds for so long.
        #[arg(long, value_name = "N", default_value_t = 0)]
        seconds: u64,
    },
    /// Play one sequence from standard input.
    #[command(hide = true)]
    FuzzCase,
    /// Print a script that completes this command line.
    Completions {
        /// For this shell.
        shell: Shell,
    },
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}
