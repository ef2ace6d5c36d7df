//! The command line of the benchmark.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Measure the device plugin on a simulated node, and other device plugins beside it.
///
/// Exit codes: 0 all was measured, 1 something failed, 2 bad usage, 130 interrupted.
#[derive(Clone, Debug, Parser)]
#[command(name = "bench", version)]
pub struct Args {
    /// Folder with other device plugins' binaries (`nvidia-device-plugin`), measured in the same run. Needs root.
    #[arg(long, value_name = "DIR")]
    pub peers: Option<PathBuf>,

    /// Simulated node: a preset of `nvml-sim init`.
    #[arg(long, default_value = "dgx-a100", value_parser = preset)]
    pub preset: String,

    /// Starts of the process; ten times as many restarts of the kubelet, which are cheap.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub runs: u32,

    /// Calls of each RPC; fewer of one that takes long.
    #[arg(long, default_value_t = 500, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub calls: u32,

    /// Seconds over which idle processor time is counted; 0 leaves that out.
    #[arg(long, default_value_t = 60, value_name = "S")]
    pub idle_seconds: u64,

    /// Only the groups whose titles have this text, such as "simulated driver".
    #[arg(long, value_name = "TEXT")]
    pub only: Option<String>,

    /// Form of the answer.
    #[arg(long, value_enum, default_value = "table")]
    pub output: Output,
}

/// Form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A table for people.
    Table,
    /// The same for programs.
    Json,
}

fn preset(name: &str) -> Result<String, String> {
    let nodes = nvml_sim::presets::NODES;
    match nvml_sim::presets::find(nodes, name) {
        Some(preset) => Ok(preset.name.to_owned()),
        None => Err(format!("there are {}", nvml_sim::presets::names(nodes))),
    }
}
