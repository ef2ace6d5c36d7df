//! `make bench`: figures, ratios and targets of the device plugin, and of others when their binaries are given.
//!
//! Nothing here asserts a time: a figure that misses its target is printed as such, and a person decides.

pub mod args;
mod image;
mod kubelet;
mod measure;
mod node;
mod process;
mod run;
mod stats;
mod subject;
mod table;

use std::fmt::Display;
use std::process::ExitCode;

use anyhow::{Context, Result};

/// Runs the benchmark to its end.
pub fn main(args: args::Args) -> ExitCode {
    match block_on(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn block_on(args: args::Args) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.context("cannot start the async runtime")?.block_on(run::run(args))
}

/// Prints the answer.
#[expect(clippy::print_stdout, reason = "a command line tool answers on standard output")]
fn say(text: impl Display) {
    println!("{text}");
}

/// Tells what is going on.
#[expect(clippy::print_stderr, reason = "progress of a command line tool")]
fn tell(text: impl Display) {
    eprintln!("bench: {text}");
}
