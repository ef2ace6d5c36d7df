//! `make bench`: figures, ratios and targets of the device plugin, and of others when their binaries are given.
//!
//! Nothing here asserts a time: a figure that misses its target is printed as such, and a person decides. The node is
//! `sim-node`'s and the kubelet is `fake-kubelet` in this process, whose events carry the time at which they happened.

pub mod args;
mod calls;
mod discovery;
mod driver;
mod family;
mod groups;
mod image;
mod labelled;
mod measure;
mod node;
mod profile;
mod run;
mod shares;
mod stats;
mod subject;
mod table;

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

use args::Args;
use run::Outcome;
use subject::{PeersError, Subject};

/// What shells say of a program that ctrl-c ended: 128 and SIGINT.
const INTERRUPTED: u8 = 130;

/// Bad usage.
const USAGE: u8 = 2;

/// Runs the benchmark to its end.
pub fn main(args: Args) -> ExitCode {
    let peers = args.peers.as_deref().map(|folder| Subject::peers(folder, &mut |words| tell(words)));
    let peers = match peers.transpose() {
        Ok(peers) => peers.unwrap_or_default(),
        Err(error) => return refuse(&error),
    };
    match block_on(args, peers) {
        Ok(Some(Outcome::Measured)) => ExitCode::SUCCESS,
        Ok(Some(Outcome::Failed)) => ExitCode::FAILURE,
        Ok(Some(Outcome::NothingAskedFor)) => ExitCode::from(USAGE),
        Ok(None) => ExitCode::from(INTERRUPTED),
        Err(error) => {
            tell(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn refuse(error: &PeersError) -> ExitCode {
    tell(format!("error: --peers: {error}"));
    ExitCode::from(USAGE)
}

/// Measures, unless a signal comes first: then all processes and folders are gone as well, and there is no outcome.
fn block_on(args: Args, peers: Vec<Subject>) -> Result<Option<Outcome>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.context("cannot start the async runtime")?.block_on(async {
        let interrupted = interrupted().context("cannot catch signals")?;
        tokio::select! {
            outcome = run::run(args, peers) => outcome.map(Some),
            () = interrupted => Ok(None),
        }
    })
}

/// Caught from this call on.
fn interrupted() -> io::Result<impl Future<Output = ()>> {
    let mut int = signal(SignalKind::interrupt())?;
    let mut term = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
            _ = hangup.recv() => {}
        }
    })
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
