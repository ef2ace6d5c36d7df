//! `nvml-sim process`: processes on GPUs, for people. It knows words and tables; the rules are the engine's.

mod real;

use std::ffi::OsString;
use std::io::Write;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::arguments::Output;
use super::commands::{exec, of_branch};
use super::show::{columns, time};
use crate::bytes::Bytes;
use crate::node::{self, Gpu, Node};
use crate::processes::{Percent, Process, ProcessEntry, ProcessKind, keep_through_exec};
use crate::state::StateFolder;

/// What to do with processes.
#[derive(Debug, Subcommand)]
pub enum ProcessCommand {
    /// Let a process run on GPUs or a MIG instance, and print its pid. No process of this machine is needed.
    Add(Add),
    /// Run a program that is a process on GPUs as long as it lives.
    ///
    /// It sees the node as by `nvml-sim run`, and takes this command's place: the pid stays. It is on the GPUs until it has ended,
    /// however that was, or until `process kill`, which ends nothing but that. A child that it starts with its open files goes on
    /// in its name.
    Run(Run),
    /// Hold a life open until a process of this machine ends.
    #[command(hide = true)]
    Keep { pid: u32 },
    /// End a process, on all its GPUs.
    Kill {
        /// Its pid.
        pid: u32,
    },
    /// List the processes.
    List {
        /// Only on this GPU: index, UUID or PCI address.
        #[arg(long)]
        gpu: Option<String>,
        /// How.
        #[arg(long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
}

/// A process that begins.
#[derive(Debug, Args)]
pub struct Add {
    #[command(flatten)]
    uses: Uses,
    /// Its pid; a free one where absent. With that of a process elsewhere, that process runs here too.
    #[arg(long)]
    pid: Option<u32>,
    /// A process of this machine: it runs on the GPU as long as it lives.
    #[arg(long, value_name = "PID", conflicts_with = "pid")]
    for_pid: Option<u32>,
}

/// A program that is a process on GPUs.
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    uses: Uses,
    /// The program and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// What a process uses.
#[derive(Debug, Args)]
struct Uses {
    /// The GPU: index, UUID or PCI address. Several times for a process on several GPUs.
    #[arg(long, required = true)]
    gpu: Vec<String>,
    /// The MIG GPU instance.
    #[arg(long, value_name = "ID")]
    gi: Option<u32>,
    /// The MIG compute instance; the only one of the GPU instance where absent.
    #[arg(long, value_name = "ID", requires = "gi")]
    ci: Option<u32>,
    /// Its name.
    #[arg(long)]
    name: Option<String>,
    /// How it uses the GPU.
    #[arg(long, value_enum, default_value_t = ProcessKind::Compute)]
    kind: ProcessKind,
    /// Memory that it uses of each, such as 10GiB.
    #[arg(long, default_value = "0B")]
    memory: Bytes,
    /// Part of the time that its kernels run, such as 40%.
    #[arg(long, value_name = "PERCENT", default_value = "0%")]
    sm: Percent,
    /// Part of the time that it reads or writes memory.
    #[arg(long, value_name = "PERCENT", default_value = "0%")]
    memory_activity: Percent,
    /// Part of the encoders' time.
    #[arg(long, value_name = "PERCENT", default_value = "0%")]
    encoder: Percent,
    /// Part of the decoders' time.
    #[arg(long, value_name = "PERCENT", default_value = "0%")]
    decoder: Percent,
}

impl Uses {
    /// An entry for each GPU.
    fn entries(self, pid: Option<u32>, known_name: Option<String>) -> Vec<ProcessEntry> {
        let Uses { gpu, gi, ci, name, kind, memory, sm, memory_activity, encoder, decoder } = self;
        let name = name.or(known_name);
        let of = |gpu: String| {
            let name = name.clone();
            ProcessEntry { gpu, gi, ci, pid, name, kind, memory, sm, memory_activity, encoder, decoder }
        };
        gpu.into_iter().map(of).collect()
    }
}

/// Carries out `nvml-sim process`.
pub fn run(folder: &StateFolder, command: ProcessCommand, out: &mut impl Write) -> Result<()> {
    match command {
        ProcessCommand::Add(Add { uses, pid, for_pid: None }) => {
            writeln!(out, "{}", folder.start_processes(uses.entries(pid, None))?)?;
        }
        ProcessCommand::Add(Add { uses, for_pid: Some(pid), .. }) => {
            let name = real::find(pid)?;
            let life = folder.start_life(pid, uses.entries(None, Some(name)))?;
            real::keep(folder, pid, life)?;
            writeln!(out, "{pid}")?;
        }
        ProcessCommand::Run(Run { uses, command }) => {
            let name = command.first().map(|program| program.to_string_lossy().into_owned());
            let life = folder.start_life(std::process::id(), uses.entries(None, name))?;
            keep_through_exec(&life)?;
            exec(folder, None, None, of_branch(folder, None, None)?.as_deref(), &command)?;
        }
        ProcessCommand::Keep { pid } => real::wait(pid)?,
        ProcessCommand::Kill { pid } => {
            folder.end_process(pid)?;
        }
        ProcessCommand::List { gpu, output } => list(folder, gpu.as_deref(), output, out)?,
    }
    Ok(())
}

fn list(folder: &StateFolder, only: Option<&str>, output: Output, out: &mut impl Write) -> Result<()> {
    let (node, state) = (folder.node()?, folder.state()?);
    let only = only.map(|gpu| node::find_or_tell(&node.gpus, gpu)).transpose()?;
    let shown = |process: &&Process| only.is_none_or(|gpu: &Gpu| gpu.uuid == process.gpu);
    let processes = state.processes.iter().filter(shown);
    if output == Output::Json {
        let whole: Vec<Value> = processes.map(|process| json_of(process, &node)).collect();
        serde_json::to_writer_pretty(&mut *out, &whole)?;
        return Ok(writeln!(out)?);
    }
    table(processes, &node, out)
}

/// Processes for people.
pub fn table<'a>(
    processes: impl Iterator<Item = &'a Process>,
    node: &Node,
    out: &mut impl Write,
) -> Result<()> {
    let mut rows =
        vec![["GPU", "GI", "CI", "PID", "KIND", "MEMORY", "SM", "SINCE", "NAME"].map(str::to_owned)];
    rows.extend(processes.map(|process| {
        let id = |id: Option<u32>| id.map_or("-".to_owned(), |id| id.to_string());
        [
            index(process, node).map_or("-".to_owned(), |index| index.to_string()),
            id(process.instance.map(|place| place.gpu_instance)),
            id(process.instance.map(|place| place.compute_instance)),
            process.pid.to_string(),
            word(process.kind).to_owned(),
            process.memory.to_string(),
            process.sm.to_string(),
            time(process.start_us),
            process.name.clone(),
        ]
    }));
    Ok(columns(&rows, out)?)
}

/// The index of its GPU, which a node file that was edited since may have lost.
fn index(process: &Process, node: &Node) -> Option<usize> {
    node.find(&process.gpu).map(|gpu| gpu.index)
}

fn word(kind: ProcessKind) -> &'static str {
    match kind {
        ProcessKind::Compute => "compute",
        ProcessKind::Graphics => "graphics",
        ProcessKind::Mps => "mps",
    }
}

fn json_of(process: &Process, node: &Node) -> Value {
    json!({
        "gpu": index(process, node),
        "uuid": process.gpu,
        "gpuInstance": process.instance.map(|place| place.gpu_instance),
        "computeInstance": process.instance.map(|place| place.compute_instance),
        "pid": process.pid,
        "name": process.name,
        "kind": word(process.kind),
        "memoryBytes": process.memory.0,
        "smPercent": process.sm.number(),
        "memoryActivityPercent": process.memory_activity.number(),
        "encoderPercent": process.encoder.number(),
        "decoderPercent": process.decoder.number(),
        "startUs": process.start_us,
        "isOfMachine": process.life.is_some(),
    })
}
