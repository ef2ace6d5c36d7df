//! `nvml-sim fault`: faults of single functions. It knows their words; what they do is the engine's.

use std::io::Write;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::code::Code;
use crate::drain::PciDevice;
use crate::faults::{Effect, Fault, FaultEntry, Moment, Occurrence, Probability};
use crate::incidents::{Befall, Containment, Incident, Recovery, Report};
use crate::loss::Loss;
use crate::node::Node;
use crate::state::StateFolder;

/// What to do with faults.
#[derive(Debug, Subcommand)]
pub enum FaultCommand {
    /// Calls of a function block until the fault is cleared or their process is killed.
    Hang(Hang),
    /// Calls of a function end their process by SIGSEGV.
    Crash(Strike),
    /// Calls of a function succeed with nonsense: numbers out of range, texts that are none, handles of nothing.
    Garbage(Strike),
    /// Calls of a function return an error code and do nothing else.
    Return {
        /// Which calls.
        #[command(flatten)]
        strike: Strike,
        /// The error: a name such as GPU_IS_LOST, or a number.
        code: String,
    },
    /// Remove the faults of a function, or all.
    Clear {
        /// The function, as it was written when the fault was added.
        function: Option<String>,
        /// Only faults of calls on this GPU.
        #[arg(long)]
        gpu: Option<String>,
    },
    /// List the faults that wait for calls, and what waits for its time.
    Show,
}

/// A hang.
#[derive(Debug, Args)]
pub struct Hang {
    /// Which calls.
    #[command(flatten)]
    strike: Strike,
    /// Block in the kernel, so that not even SIGKILL ends it. Needs root: a small file system in the state folder is
    /// mounted and frozen. `fault clear` and `thaw` end it, and nothing else does.
    #[arg(long)]
    uninterruptible: bool,
}

/// When something befalls a GPU.
#[derive(Debug, Args)]
pub struct When {
    /// At that moment of the node's clock: a span from now (90s), or a time (2026-01-31T12:00:00Z).
    #[arg(long)]
    at: Option<Moment>,
    /// At a call on the GPU, after so many others.
    #[arg(long, default_value_t = 0)]
    after: u32,
    /// At a call on the GPU, with this probability: 0.05, 5%.
    #[arg(long, value_name = "P")]
    probability: Option<Probability>,
    /// At which calls that is: the same seed gives the same ones again; 0 where absent.
    #[arg(long)]
    seed: Option<u64>,
    /// At so many calls on the GPU; one where absent.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    times: Option<u32>,
}

impl When {
    /// These words for a GPU, without what befalls it.
    pub fn entry(self, gpu: String) -> FaultEntry {
        FaultEntry { gpu: Some(gpu), ..self.of_the_node() }
    }

    /// Whether something is to befall a GPU later, or at a call.
    pub fn is_now(&self) -> bool {
        let When { at, after, probability, seed, times } = self;
        at.is_none() && *after == 0 && probability.is_none() && seed.is_none() && times.is_none()
    }

    /// These words for the node.
    pub fn of_the_node(self) -> FaultEntry {
        let When { at, after, probability, seed, times } = self;
        FaultEntry { at, after, probability, seed, times, ..FaultEntry::default() }
    }
}

/// Which calls a fault strikes.
#[derive(Debug, Args)]
pub struct Strike {
    /// An NVML function such as nvmlDeviceGetName; a final `*` stands for any ending.
    function: String,
    /// Only calls on this GPU (index, UUID or PCI address): those that take its handle as their first.
    #[arg(long)]
    gpu: Option<String>,
    /// Strike so many calls, then be gone. Counted over all processes; every call where absent.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    times: Option<u32>,
    /// Let so many calls pass first.
    #[arg(long, default_value_t = 0)]
    after: u32,
    /// Let all calls pass until then, by the node's clock: a span from now (90s), or a time (2026-01-31T12:00:00Z).
    #[arg(long)]
    at: Option<Moment>,
    /// Strike this part of the calls: 0.05, 5%.
    #[arg(long, value_name = "P")]
    probability: Option<Probability>,
    /// Which calls those are, and for garbage which nonsense: the same seed gives the same again; 0 where absent.
    #[arg(long)]
    seed: Option<u64>,
}

impl Strike {
    /// The words, without the function and what happens.
    fn entry(self) -> (String, FaultEntry) {
        let Strike { function, gpu, times, after, at, probability, seed } = self;
        (function, FaultEntry { gpu, times, after, at, probability, seed, ..FaultEntry::default() })
    }
}

/// A command in the words of a node file.
fn entry(command: FaultCommand) -> Option<FaultEntry> {
    match command {
        FaultCommand::Hang(Hang { strike, uninterruptible }) => {
            let (function, entry) = strike.entry();
            Some(FaultEntry { hang: Some(function), uninterruptible, ..entry })
        }
        FaultCommand::Crash(strike) => {
            let (function, entry) = strike.entry();
            Some(FaultEntry { crash: Some(function), ..entry })
        }
        FaultCommand::Garbage(strike) => {
            let (function, entry) = strike.entry();
            Some(FaultEntry { garbage: Some(function), ..entry })
        }
        FaultCommand::Return { strike, code } => {
            let (function, entry) = strike.entry();
            Some(FaultEntry { r#return: Some(function), code: Some(code), ..entry })
        }
        FaultCommand::Clear { .. } | FaultCommand::Show => None,
    }
}

/// Carries out `nvml-sim fault`.
pub fn run(folder: &StateFolder, command: FaultCommand, out: &mut impl Write) -> Result<()> {
    match command {
        FaultCommand::Clear { function, gpu } => {
            let function = function.as_deref();
            let cleared = match gpu {
                Some(gpu) => folder.clear_faults_of_gpu(&gpu, function)?,
                None => folder.clear_faults(function)?,
            };
            writeln!(out, "cleared {cleared}")?;
        }
        FaultCommand::Show => {
            let node = folder.node()?;
            let state = folder.state()?;
            for fault in &state.faults {
                writeln!(out, "{}", describe(fault, &node))?;
            }
            for incident in &state.incidents {
                writeln!(out, "{}", describe_incident(incident, &node))?;
            }
        }
        added => {
            if let Some(entry) = entry(added) {
                folder.declare(entry)?;
            }
        }
    }
    Ok(())
}

/// What befalls a GPU, in words.
fn told(what: &Befall) -> String {
    let with = |report: &Option<Report>| {
        report.map(|report| format!(" with XID {}", report.xid)).unwrap_or_default()
    };
    let of = |links: &[u32]| {
        let all = links.is_empty();
        let named = links.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        if all { "all NVLinks".to_owned() } else { format!("NVLinks {named}") }
    };
    match what {
        Befall::Xid(report) => format!("XID {}", report.xid),
        Befall::Lose { how: Loss::OffBus, report } => format!("a fall off the bus{}", with(report)),
        Befall::Lose { how: Loss::Lost, report } => format!("a loss{}", with(report)),
        Befall::Count(counted) => format!("{} more {}", counted.by, counted.counter),
        Befall::MemoryError { how, gpu_instance } => {
            let how = match how {
                Containment::Contained => "a contained",
                Containment::Uncontained => "an uncontained",
            };
            let of = gpu_instance.map(|id| format!(" in GPU instance {id}")).unwrap_or_default();
            format!("{how} memory error{of}")
        }
        Befall::LinksDown { links, report } => format!("{} down{}", of(links), with(report)),
        Befall::LinksUp(links) => format!("{} up", of(links)),
        Befall::Recover(Recovery::Return) => "its return".to_owned(),
        Befall::Recover(Recovery::Reset) => "a reset".to_owned(),
        Befall::Set(values) => {
            let pairs: Vec<_> = values.iter().map(|(key, value)| format!("{key}={value}")).collect();
            pairs.join(" ")
        }
        Befall::Drain(true) => "its draining".to_owned(),
        Befall::Drain(false) => "the end of its draining".to_owned(),
        Befall::Remove(PciDevice::Kept) => "its removal from the driver".to_owned(),
        Befall::Remove(PciDevice::Removed) => "its removal".to_owned(),
        Befall::Discover => "a discovery".to_owned(),
        Befall::Reboot => "a reboot".to_owned(),
        Befall::Reload(None) => "the driver loaded anew".to_owned(),
        Befall::Reload(Some(version)) => format!("driver {version} loaded"),
    }
}

/// An incident in words.
pub fn describe_incident(incident: &Incident, node: &Node) -> String {
    let whom = incident.gpu.as_ref().map_or_else(
        || "node".to_owned(),
        |uuid| {
            let index = node.find(uuid).map_or_else(|| uuid.clone(), |gpu| gpu.index.to_string());
            format!("GPU {index}")
        },
    );
    format!("{whom}: {} at {}", told(&incident.what), incident.at)
}

/// A fault in words.
pub fn describe(fault: &Fault, node: &Node) -> String {
    let effect = match &fault.effect {
        Effect::Return(code) => format!("returns {}", Code(*code)),
        Effect::Hang => "hangs".to_owned(),
        Effect::Freeze => "hangs in the kernel".to_owned(),
        Effect::Crash => "crashes".to_owned(),
        Effect::Garbage { seed } => format!("gives garbage (seed {seed})"),
        Effect::Befall(what) => format!("brings {}", told(what)),
    };
    let mut often = match fault.occurrence {
        Occurrence::Always => "every call".to_owned(),
        Occurrence::Times(1) => "the next call".to_owned(),
        Occurrence::Times(count) => format!("the next {count} calls"),
    };
    if fault.after > 0 {
        often.push_str(&format!(" after {} more", fault.after));
    }
    if let Some(chance) = &fault.chance {
        often.push_str(&format!(", with probability {} (seed {})", chance.probability, chance.seed));
    }
    if let Some(at) = fault.at {
        often.push_str(&format!(", from {at}"));
    }
    let of = match &fault.gpu {
        None => String::new(),
        // The node file may have changed since.
        Some(gpu) => {
            let index = node.find(gpu).map_or_else(|| gpu.clone(), |gpu| gpu.index.to_string());
            format!(" of GPU {index}")
        }
    };
    format!("{}{of} {effect}: {often}", fault.function)
}
