//! The command line of `test-cluster`.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};

use crate::cluster::{Cluster, DEFAULT_NAME};
use crate::layout::Layout;
use crate::status::Status;

/// A real one-node Kubernetes for end-to-end tests.
#[derive(Debug, Parser)]
#[command(name = "test-cluster", version)]
struct Args {
    /// Which cluster.
    #[arg(long, default_value = DEFAULT_NAME, global = true, value_parser = cluster_name)]
    name: String,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Start it, building and installing what is missing. Does nothing when it runs.
    Up,
    /// End it and remove what it left. Logs and built programs stay.
    Down,
    /// Say what runs. Exits with 1 when not all of it does.
    Status {
        /// Form of the output.
        #[arg(long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Run kubectl on it.
    Kubectl {
        /// kubectl's arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Run a command in the node: its files, network and processes.
    Enter {
        /// The program and its arguments; a shell without.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Bring an image archive into the node.
    Load {
        /// The archive, as `cargo xtask image` writes it.
        archive: std::path::PathBuf,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// Runs the command line.
pub fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "test-cluster: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<ExitCode> {
    match &args.action {
        Action::Up => Cluster::up(&args.name).map(|_| ExitCode::SUCCESS),
        Action::Down => Cluster::down(&args.name).map(|()| ExitCode::SUCCESS),
        Action::Status { output } => {
            let status = Status::of(&args.name)?;
            let text = match output {
                Output::Table => status.to_string(),
                Output::Json => format!("{}\n", serde_json::to_string_pretty(&status)?),
            };
            io::stdout().write_all(text.as_bytes()).context("write to standard output")?;
            Ok(if status.is_up() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Action::Kubectl { args: given } => pass_on(running(&args.name)?.kubectl().command().args(given)),
        Action::Enter { args: given } => {
            let cluster = running(&args.name)?;
            match given.split_first() {
                None => pass_on(&mut cluster.enter("sh")),
                Some((program, rest)) => pass_on(cluster.enter(&program.to_string_lossy()).args(rest)),
            }
        }
        Action::Load { archive } => running(&args.name)?.load_image(archive).map(|()| ExitCode::SUCCESS),
    }
}

/// A bad name is bad usage.
fn cluster_name(given: &str) -> Result<String> {
    Layout::new(given).map(|_| given.to_owned())
}

fn running(name: &str) -> Result<Cluster> {
    Cluster::find(name)?
        .with_context(|| format!("the cluster {name:?} does not run: `make cluster-up` starts it"))
}

/// Runs a command with our own input and output, and takes its exit code.
fn pass_on(command: &mut Command) -> Result<ExitCode> {
    let status = command.status().context("start nsenter")?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_that_no_cluster_can_have_is_bad_usage() {
        let error = Args::try_parse_from(["test-cluster", "--name=Upper", "up"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("lower-case"), "{error}");
    }
}
