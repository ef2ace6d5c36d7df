//! The words of the command line and their help. It knows what can be asked, not how it is done.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use thiserror::Error;

use super::fault::{FaultCommand, Hang, When};
use super::mig::MigCommand;
use super::process::ProcessCommand;
use crate::damage::Counter;
use crate::incidents::Containment;
use crate::latency::Delay;
use crate::loss::Loss;
use crate::presets;
use crate::settings::{SETTINGS, Setting};
use crate::trim::Branch;

/// A simulated NVIDIA driver, for trying and testing GPU software without a GPU.
///
/// A folder stands for the kernel driver: it holds the node as declared (node.yaml) and what happened to it. Every
/// program that loads the simulated libnvidia-ml.so.1 with NVML_SIM_DIR pointing to the folder sees that node,
/// and these commands change it while they run.
#[derive(Debug, Parser)]
#[command(name = "nvml-sim", version, after_help = EXAMPLES)]
pub struct Arguments {
    /// The node's state folder.
    #[arg(long, global = true, env = "NVML_SIM_DIR", value_name = "DIR")]
    pub dir: Option<PathBuf>,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  nvml-sim init --preset dgx-a100 /tmp/node        make a node with 8 GPUs
  nvml-sim show /tmp/node                          look at it
  nvml-sim run --dir /tmp/node -- python3 list.py  run a program that uses NVML
  nvml-sim --dir /tmp/node xid --gpu 3 79          what a waiting program then sees
  nvml-sim --dir /tmp/node lose --gpu 3            every call on GPU 3 fails from now on";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a state folder from a node preset or a node file.
    Init {
        #[arg(help = format!("A node preset: {}", presets::names(presets::NODES)))]
        #[arg(long, value_name = "NODE", required_unless_present = "file", conflicts_with = "file")]
        preset: Option<String>,
        /// A node file of your own; `nvml-sim presets --node t4` prints one to start from.
        #[arg(long, value_name = "NODE.YAML")]
        file: Option<PathBuf>,
        /// The folder to make; --dir where absent.
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
    },
    /// List presets, or print one.
    Presets {
        /// Print this node preset.
        #[arg(long, value_name = "NODE")]
        node: Option<String>,
        /// Print this GPU preset.
        #[arg(long, value_name = "MODEL", conflicts_with = "node")]
        gpu: Option<String>,
        /// Print the JSON Schema of node files, for editors.
        #[arg(long, conflicts_with_all = ["node", "gpu"])]
        schema: bool,
    },
    /// Show the node: driver, GPUs with their readings, MIG devices, and what was done to them.
    Show {
        /// Also UUID, serial number, minor number and NUMA node of each GPU.
        #[arg(long)]
        names: bool,
        /// The folder; --dir where absent.
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
        /// How.
        #[arg(long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Follow the node: on a terminal the picture of `show`, drawn anew; else a line for each change.
    ///
    /// With --output json each line is a document: generation, time, and the changes of the state, each with its path, and
    /// what was there before and after. Ends when it is interrupted, or nobody reads on.
    Watch {
        /// The folder; --dir where absent.
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
        /// How often the picture is drawn anew when nothing changes but readings.
        #[arg(long, value_name = "SPAN", default_value = "1s")]
        interval: Delay,
        /// How.
        #[arg(long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Lay a host root: /dev, /proc and /sys entries, driver libraries and programs.
    ///
    /// As root the device nodes are real character devices with numbers that a container's default device list
    /// denies. Otherwise they are empty files, and a note says so.
    Root {
        /// The folder to fill. What lies there under the same names is replaced.
        #[arg(value_name = "ROOT")]
        root: PathBuf,
        /// The simulated NVML library, if it is not near this program.
        #[arg(long, value_name = "PATH")]
        library: Option<PathBuf>,
        /// Only the functions that a driver of this branch has: 450, 470, 510 or 550. A program does not find the others.
        #[arg(long, value_name = "BRANCH")]
        symbols: Option<Branch>,
    },
    /// Run a program that sees the node.
    ///
    /// Sets NVML_SIM_DIR, LD_LIBRARY_PATH and GANTRY_NVML_LIBRARY; with --root also GANTRY_HOST_ROOT and
    /// GANTRY_DRIVER_ROOT. The program takes this one's place.
    Run {
        /// A host root that `nvml-sim root` laid, whose libraries to use.
        #[arg(long, value_name = "ROOT")]
        root: Option<PathBuf>,
        /// Let the host root show through at /dev, /proc, /sys and /usr, for this program alone.
        ///
        /// For programs with fixed paths. It needs root: the program gets a mount namespace of its own, and nothing is
        /// written to the machine's folders. What the program itself writes there into a folder that the root adds to
        /// is gone when it ends.
        #[arg(long, requires = "root")]
        private: bool,
        /// The simulated NVML library, if it is not near this program.
        #[arg(long, value_name = "PATH", conflicts_with = "root")]
        library: Option<PathBuf>,
        /// Only the functions that a driver of this branch has: 450, 470, 510 or 550. A program does not find the others.
        #[arg(long, value_name = "BRANCH", conflicts_with = "root")]
        symbols: Option<Branch>,
        /// The program and its arguments.
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
    /// Report a critical XID error of a GPU.
    Xid {
        /// The GPU: index, UUID or PCI address.
        #[arg(long)]
        gpu: String,
        /// The XID, such as 48, 79 or 95.
        #[arg(value_name = "CODE")]
        xid: u64,
        /// The MIG GPU instance that it concerns.
        #[arg(long, value_name = "ID")]
        gi: Option<u32>,
        /// The MIG compute instance that it concerns.
        #[arg(long, value_name = "ID", requires = "gi")]
        ci: Option<u32>,
        /// Leave the recovery action (field 230) as it is.
        #[arg(long)]
        no_recovery_action: bool,
        /// When; at once where absent.
        #[command(flatten)]
        when: When,
    },
    /// Lose a GPU: every call on it gives GPU_IS_LOST.
    Lose {
        /// In which way.
        #[arg(long, value_enum, default_value_t = Loss::Lost)]
        mode: Loss,
        /// When; at once where absent.
        #[command(flatten)]
        when: When,
        /// The GPU: index, UUID or PCI address.
        #[arg(long)]
        gpu: String,
        /// Report this XID at the same moment; 79 where no number is given.
        #[arg(long, value_name = "CODE", num_args = 0..=1, default_missing_value = "79")]
        xid: Option<u64>,
        /// Leave the recovery action (field 230) as it is.
        #[arg(long, requires = "xid")]
        no_recovery_action: bool,
    },
    /// Let an uncorrectable error of device memory happen, with all that the driver does of it.
    ///
    /// It is counted, its row (up to Turing its page) waits for a reset, and XIDs tell of it: 48, 63, and from Ampere on 94
    /// where it is contained, else 95.
    MemoryError {
        /// The GPU: index, UUID or PCI address.
        #[arg(long)]
        gpu: String,
        /// Whether it stays with the program that met it; up to Turing it never does.
        #[arg(value_enum)]
        how: Containment,
        /// The MIG GPU instance that meets it.
        #[arg(long, value_name = "ID")]
        gi: Option<u32>,
        /// When; at once where absent.
        #[command(flatten)]
        when: When,
    },
    /// Take NVLinks of a GPU down, at both ends, or up again.
    Nvlink {
        /// Which of the two.
        #[arg(value_enum)]
        to: LinkState,
        /// The links; all where absent.
        #[arg(value_name = "LINK")]
        links: Vec<u32>,
        /// The GPU: index, UUID or PCI address.
        #[arg(long)]
        gpu: String,
        /// Report this XID at the same moment; 74 where no number is given.
        #[arg(long, value_name = "CODE", num_args = 0..=1, default_missing_value = "74")]
        xid: Option<u64>,
        /// When; at once where absent.
        #[command(flatten)]
        when: When,
    },
    /// Count errors of a GPU: ECC, remapped rows, retired pages, PCIe replays, NVLinks.
    ///
    /// Rows and pages wait for the next reset of the GPU, or load of the driver.
    #[command(
        after_help = "Examples:\n  nvml-sim count --gpu 0 ecc.uncorrected.dram\n  nvml-sim count --gpu 0 rows.uncorrectable --by 2 --settled\n  nvml-sim count --gpu 0 nvlink.3.crc-flit --by 100 --at 90s"
    )]
    Count {
        /// The GPU: index, UUID or PCI address.
        #[arg(long)]
        gpu: String,
        /// What: ecc.KIND.PLACE, rows.CAUSE, pages.CAUSE, pcie.replays or nvlink.LINK.ERROR; a wrong word lists them all.
        counter: Counter,
        /// How many.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        by: u32,
        /// The MIG GPU instance in which they are: of uncorrected ECC errors outside device memory.
        #[arg(long, value_name = "ID")]
        gi: Option<u32>,
        /// Rows and pages need no reset any more.
        #[arg(long)]
        settled: bool,
        /// When; at once where absent.
        #[command(flatten)]
        when: When,
    },
    /// Bring a lost GPU back.
    Return {
        /// The GPU: index, UUID or PCI address.
        #[arg(long)]
        gpu: String,
        /// When; at once where absent.
        #[command(flatten)]
        when: When,
    },
    /// Reset a GPU: its MIG instances are gone, pending modes are current, pending rows and pages out of use, and volatile
    /// counters 0.
    ///
    /// Refused while processes run on it, as by nvidia-smi.
    Reset {
        /// The GPU: index, UUID or PCI address.
        #[arg(long)]
        gpu: String,
        /// End the processes that run on it too.
        #[arg(long)]
        force: bool,
        /// When; at once where absent. Later it ends processes in any case.
        #[command(flatten)]
        when: When,
    },
    /// Let a GPU take no new programs: those that initialise NVML from now on do not see it.
    ///
    /// As nvidia-smi drain -m does. It must not be in persistence mode.
    Drain {
        /// The GPU: index in the node file, UUID or PCI address.
        #[arg(long)]
        gpu: String,
        /// Let it take them again.
        #[arg(long)]
        off: bool,
        /// When; at once where absent.
        #[command(flatten)]
        when: When,
    },
    /// Remove a GPU that drains from the driver, and from the PCI tree: no program sees it, and those behind it move up.
    ///
    /// As nvidia-smi drain -r does. No process may be on it.
    Remove {
        /// The GPU: index in the node file, UUID or PCI address.
        #[arg(long)]
        gpu: String,
        /// Leave its PCI device in the tree.
        #[arg(long)]
        keep_device: bool,
        /// When; at once where absent.
        #[command(flatten)]
        when: When,
    },
    /// Discover GPUs that were removed; lost ones are not found.
    Discover {
        /// Only this GPU: index in the node file, UUID or PCI address.
        #[arg(long)]
        gpu: Option<String>,
        /// When; at once where absent.
        #[command(flatten)]
        when: When,
    },
    /// Processes on GPUs: what they use, and what they keep from happening.
    Process {
        /// What to do.
        #[command(subcommand)]
        command: ProcessCommand,
    },
    /// Multi-instance GPUs: modes, instances, profiles.
    Mig {
        /// What to do.
        #[command(subcommand)]
        command: MigCommand,
    },
    /// Load the driver anew, under whichever programs run.
    ///
    /// Each of their calls gives UNINITIALIZED until they have shut NVML down and initialised it again; with another
    /// version LIB_RM_VERSION_MISMATCH until they are started again.
    Reload {
        /// The version to load, such as 580.105.08; the one that is loaded where absent.
        #[arg(long, value_name = "VERSION")]
        driver_version: Option<String>,
        /// When; at once where absent.
        #[command(flatten)]
        when: When,
    },
    /// Boot the machine anew: as reload, and GPUs that were lost or removed are back.
    ///
    /// A host root gets another boot id. Programs are not ended by it.
    Reboot {
        /// When; at once where absent.
        #[command(flatten)]
        when: When,
    },
    /// Set readings of a GPU, or the time that calls take. An empty value gives a key back.
    #[command(
        long_about = set_help(),
        after_help = "Examples:\n  nvml-sim set --gpu 0 temperature=91 memory-used=10GiB recovery-action=reset\n  nvml-sim set latency=0.1ms latency.nvmlDeviceGetNvLink*=5ms"
    )]
    Set {
        /// The GPU: index, UUID or PCI address.
        #[arg(long)]
        gpu: Option<String>,
        /// What to set to what.
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = parse_setting)]
        settings: Vec<(String, String)>,
        /// When a GPU's readings are set; at once where absent.
        #[command(flatten)]
        when: When,
    },
    /// The node's own clock, which times and counters follow.
    Clock {
        /// What to do with it.
        #[command(subcommand)]
        command: ClockCommand,
    },
    /// Faults of single NVML functions: wrong codes, hangs, crashes.
    Fault {
        /// What to do.
        #[command(subcommand)]
        command: FaultCommand,
    },
    /// Calls of a function block until the fault is cleared or their process is killed: `fault hang`, in short.
    Hang(Hang),
    /// Thaw what `fault hang --uninterruptible` froze: every call that hangs there goes on.
    ///
    /// As `fault clear` does, but whatever the state says, and if it cannot be read.
    Thaw,
    /// Print a script that completes this command line.
    Completions {
        /// For this shell.
        shell: Shell,
    },
}

/// Whether an NVLink carries data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LinkState {
    /// It does not.
    Down,
    /// It does.
    Up,
}

/// What to do with the clock.
#[derive(Debug, Subcommand)]
pub enum ClockCommand {
    /// Show the time.
    Show,
    /// Stop it.
    Freeze,
    /// Move it on; a stopped clock stays stopped.
    Advance {
        /// By so much: 90s, 5m, 2h.
        by: Delay,
    },
    /// Let it run again: from where it is, or from the machine's time where that is later.
    Resume,
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Words that do not go together.
#[derive(Debug, Error)]
pub enum UsageError {
    /// No folder named.
    #[error("which node? Give --dir DIR, or set NVML_SIM_DIR")]
    NoFolder,
    /// A preset that is not there.
    #[error("no {kind} preset is called `{name}`; there are {known}")]
    NoPreset {
        /// Node or GPU.
        kind: &'static str,
        /// The name given.
        name: String,
        /// What would be right.
        known: String,
    },
    /// A file named on the command line that cannot be read as text.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A setting that needs a GPU.
    #[error("`{0}` is a reading of one GPU: say which by --gpu")]
    NeedsGpu(String),
    /// A moment for what is set at once.
    #[error("`{0}` is set at once; --at and its like are for readings of a GPU")]
    SetNow(String),
    /// A process that is not there.
    #[error("this machine has no process {0}; without it say --pid, and no process is needed")]
    NoProcess(u32),
    /// Two XIDs of one change.
    #[error("an NVLink that comes up reports no XID; leave --xid out")]
    NoXid,
    /// A delay or a seed that is none.
    #[error("{key}: {problem}")]
    Latency {
        /// The key.
        key: String,
        /// What is wrong with its value.
        problem: String,
    },
}

fn set_help() -> String {
    let keys: String =
        SETTINGS.iter().map(|Setting { key, values, .. }| format!("  {key}: {values}\n")).collect();
    format!(
        "Set readings of a GPU, or the time that calls take. An empty value gives a key back.\n\n\
         Keys of a GPU:\n{keys}\n\
         With --gpu for its calls, without for all: latency (every function) and latency.FUNCTION, where FUNCTION may \
         end in `*`. A value is a time span, uniform(FROM, TO), normal(MEAN, DEVIATION), \
         lognormal(MEDIAN, 99TH-PERCENTILE) or recorded(SPAN, ...).\n\
         latency-seed: which draws are made of those, for all GPUs."
    )
}

/// `KEY=VALUE`.
fn parse_setting(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    pair.ok_or_else(|| format!("`{text}` has no `=`; write KEY=VALUE, such as temperature=91"))
}
