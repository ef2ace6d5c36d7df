//! The command line: what a person can ask for, and exit codes.

mod arguments;
mod report;
mod show;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{CommandFactory, Parser};
use thiserror::Error;

use crate::compare::{self, compare};
use crate::fuzz::{self, Budget, FuzzError};
use crate::record::record;
use crate::session::Session;
use crate::suite::{self, Options};
use crate::{bench, host, misuse, walk};
use arguments::{Arguments, Command, Output};

/// Exit code for bad usage, as clap's own.
const BAD_USAGE: u8 = 2;

/// A file that is no walk.
#[derive(Debug, Error)]
#[error("{}: {problem}; write it by `nvml-probe walk --output json`", file.display())]
struct WalkFileError {
    file: PathBuf,
    problem: String,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            if error.is::<WalkFileError>() || matches!(error.downcast_ref(), Some(FuzzError::NotSimulated(_)))
            {
                ExitCode::from(BAD_USAGE)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    let out = &mut std::io::stdout().lock();
    let library = arguments.library;
    match arguments.command {
        Command::Walk { host_root, only, output } => {
            let walk = walk_of(&library, host_root.as_deref())?;
            match output {
                Output::Table => show::walk(&walk, only.as_deref(), out)?,
                Output::Json => json(&show::only(walk.clone(), only.as_deref()), out)?,
            }
            return Ok(if walk.trespasses.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Record { host_root, walk } => {
            let walk = match walk {
                Some(file) => read_walk(&file)?,
                None => walk_of(&library, host_root.as_deref())?,
            };
            write!(out, "{}", record(&walk)?)?;
        }
        Command::Compare { one, other, shape, output } => {
            let (one, other) = (read_walk(&one)?, read_walk(&other)?);
            let differences = if shape { compare::shape(&one, &other) } else { compare(&one, &other) };
            match output {
                Output::Table => show::differences(&differences, out)?,
                Output::Json => json(&differences, out)?,
            }
            return Ok(if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Bench { milliseconds, threads, output } => {
            let figures = bench::measure(&library, Duration::from_millis(milliseconds), threads)?;
            match output {
                Output::Table => show::figures(&figures, out)?,
                Output::Json => json(&figures, out)?,
            }
        }
        Command::Check { host_root, milliseconds, simulator, or_skip, output } => {
            let span = Duration::from_millis(milliseconds);
            let options = Options { host_root: host_root.as_deref(), span, simulator: simulator.as_deref() };
            let report = match suite::run(&std::env::current_exe()?, &library, &options) {
                Err(error) if or_skip && error.is_absence() => {
                    writeln!(out, "SKIPPED: {:#}", anyhow::Error::new(error))?;
                    return Ok(ExitCode::SUCCESS);
                }
                done => done?,
            };
            match output {
                Output::Table => report::report(&report, out)?,
                Output::Json => json(&report, out)?,
            }
            return Ok(if report.has_problems() { ExitCode::FAILURE } else { ExitCode::SUCCESS });
        }
        Command::Misuse { from } => misuse::play(&library, from, out)?,
        Command::Fuzz { seed, cases, steps, seconds } => {
            if !Session::begin(&library)?.is_simulated() {
                return Err(FuzzError::NotSimulated(library.display().to_string()).into());
            }
            let budget = Budget { seed, cases, steps, span: Duration::from_secs(seconds) };
            return match fuzz::run(&std::env::current_exe()?, &library, budget)? {
                Ok(tried) => {
                    writeln!(out, "{tried} sequences, each call got its code")?;
                    Ok(ExitCode::SUCCESS)
                }
                Err(failure) => {
                    show::failure(&failure, out)?;
                    Ok(ExitCode::FAILURE)
                }
            };
        }
        Command::FuzzCase => {
            let case = serde_json::from_reader(std::io::stdin().lock())?;
            let tell = |index| {
                let _ = writeln!(out, "{index}").and_then(|()| out.flush());
            };
            fuzz::play(&library, &case, tell).map_err(anyhow::Error::msg)?;
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "nvml-probe", out);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn walk_of(library: &Path, host_root: Option<&Path>) -> Result<walk::Walk> {
    let host = host_root.map(host::read);
    Ok(walk::walk(&mut Session::begin(library)?, host))
}

fn read_walk(file: &Path) -> Result<walk::Walk> {
    let wrong = |problem: String| WalkFileError { file: file.to_owned(), problem };
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    Ok(serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?)
}

fn json(value: &impl serde::Serialize, out: &mut impl Write) -> Result<()> {
    writeln!(out, "{}", serde_json::to_string_pretty(value)?)?;
    Ok(())
}
