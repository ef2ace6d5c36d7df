//! The command line of the benchmark.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Measure the device plugin on a simulated node, and other device plugins beside it.
#[derive(Clone, Debug, Parser)]
#[command(name = "bench", version)]
pub struct Args {
    /// Folder with other device plugins' binaries (`nvidia-device-plugin`), measured in the same run. Needs root.
    #[arg(long, value_name = "DIR")]
    pub peers: Option<PathBuf>,

    /// Simulated node: a preset of `nvml-sim init`.
    #[arg(long, default_value = "dgx-a100")]
    pub preset: String,

    /// Runs of each start and restart.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub runs: u32,

    /// Calls of each RPC.
    #[arg(long, default_value_t = 500, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub calls: u32,

    /// Seconds over which idle processor time is counted.
    #[arg(long, default_value_t = 60, value_name = "S")]
    pub idle_seconds: u64,

    /// Form of the answer.
    #[arg(long, value_enum, default_value = "table")]
    pub output: Output,
}

/// Form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A table for people.
    Table,
    /// The rows for programs.
    Json,
}
