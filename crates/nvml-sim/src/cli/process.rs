//! `nvml-sim process`: processes on GPUs, for people. It knows words and tables; the rules are the engine's.

use std::io::Write;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::arguments::Output;
use super::show::{columns, time};
use crate::bytes::Bytes;
use crate::node::{self, Gpu, Node};
use crate::processes::{Percent, Process, ProcessEntry, ProcessKind};
use crate::state::StateFolder;

/// What to do with processes.
#[derive(Debug, Subcommand)]
pub enum ProcessCommand {
    /// Let a process run on a GPU or MIG instance, and print its pid. No process of this machine is needed.
    Add(Add),
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
    /// The GPU: index, UUID or PCI address.
    #[arg(long)]
    gpu: String,
    /// The MIG GPU instance.
    #[arg(long, value_name = "ID")]
    gi: Option<u32>,
    /// The MIG compute instance; the only one of the GPU instance where absent.
    #[arg(long, value_name = "ID", requires = "gi")]
    ci: Option<u32>,
    /// Its pid; a free one where absent. With that of a process elsewhere, that process runs here too.
    #[arg(long)]
    pid: Option<u32>,
    /// Its name.
    #[arg(long)]
    name: Option<String>,
    /// How it uses the GPU.
    #[arg(long, value_enum, default_value_t = ProcessKind::Compute)]
    kind: ProcessKind,
    /// Memory that it uses, such as 10GiB.
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

/// Carries out `nvml-sim process`.
pub fn run(folder: &StateFolder, command: ProcessCommand, out: &mut impl Write) -> Result<()> {
    match command {
        ProcessCommand::Add(Add {
            gpu,
            gi,
            ci,
            pid,
            name,
            kind,
            memory,
            sm,
            memory_activity,
            encoder,
            decoder,
        }) => {
            let entry =
                ProcessEntry { gpu, gi, ci, pid, name, kind, memory, sm, memory_activity, encoder, decoder };
            writeln!(out, "{}", folder.start_process(entry)?)?;
        }
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
    })
}
