//! Developer tasks: `cargo xtask tidy`, `cargo xtask gen`, `cargo xtask image`.

mod r#gen;
mod image;
mod tidy;

use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Developer tasks of the Gantry workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check the workspace's invariants (floors, unsafe, file heads and lengths, names).
    Tidy,
    /// Write generated code anew.
    Gen {
        /// Change nothing; fail if what is checked in differs.
        #[arg(long)]
        check: bool,
    },
    /// Build the daemons' container images.
    Image(image::ImageArgs),
}

fn main() -> ExitCode {
    match run(Args::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Tidy => tidy::run(root()),
        Task::Gen { check } => r#gen::run(check),
        Task::Image(args) => image::run(args),
    }
}

/// The repository.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Prints one line for the person at the terminal.
#[expect(clippy::print_stdout, reason = "a command line tool answers on standard output")]
fn say(line: impl Display) {
    println!("{line}");
}

/// Prints one line about what went wrong.
#[expect(clippy::print_stderr, reason = "a command line tool complains on standard error")]
fn complain(line: impl Display) {
    eprintln!("{line}");
}
