//! `make demo`: a GPU node at work in the terminal, without a GPU, without root, without a cluster.
//!
//! Driver, kubelet and container runtime are simulated; the daemons are the real programs, as processes. A run is
//! a row of scenes, one module each under `scenes`: it does something to the node, shows what a user would look
//! at, and checks it. So the demo is a test as well: exit code 1 when anything was not as expected.
//!
//! It knows the node from outside only: the kubelet's answers, `/ready`, logs, files.

mod args;
mod gpus;
mod interrupt;
mod scenes;
mod screen;
mod stage;
mod stay;
mod wording;

use std::io;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use args::Args;
use interrupt::{Interrupt, Interrupted};
use scenes::{CURTAIN, SCENES};
use screen::Screen;
use stage::Stage;

/// What to do after a show that did not stay.
const NEXT: &str = "`make demo ARGS=--stay` keeps the node up for you to try things.";

/// What shells say of a program that ctrl-c ended: 128 and SIGINT.
const INTERRUPTED: u8 = 130;

/// The whole program.
pub fn run() -> ExitCode {
    let args = Args::parse();
    let screen = Screen::new(args.looks());
    match show(&args, screen) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) if error.is::<Interrupted>() => ExitCode::from(INTERRUPTED),
        // Whoever read along has gone, as `head` does.
        Err(error) if is_broken_pipe(&error) => ExitCode::FAILURE,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Plays everything; tells whether all was as expected. The stage, and with it every process and file, is gone
/// when this returns, however it returns.
fn show(args: &Args, mut screen: Screen) -> Result<bool> {
    let interrupt = Interrupt::catch().context("cannot catch signals")?;
    screen.title("Gantry: a GPU node, simulated", &args.preset)?;
    screen.hint("Driver, kubelet and container runtime are simulated; the daemons are the real")?;
    screen.hint("programs. It takes about 15 seconds; ctrl-c ends it and leaves nothing.")?;
    let mut stage = Stage::set(&args.preset, screen, interrupt)?;
    let played = play(&mut stage, args.stay);
    if let Err(error) = &played
        && !error.is::<Interrupted>()
    {
        stage.show_last_words()?;
    }
    played?;
    stage.sum_up(if args.stay { "" } else { NEXT })
}

fn play(stage: &mut Stage, stay: bool) -> Result<()> {
    for scene in SCENES {
        stage.open(scene)?;
        (scene.play)(stage)?;
    }
    if stay {
        return stay::until_interrupted(stage);
    }
    stage.open(&CURTAIN)?;
    (CURTAIN.play)(stage)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[expect(clippy::print_stderr, reason = "the program's one place for errors")]
fn complain(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}
