//! The program in test pods: prints what its container can do with GPUs, and waits if told to.

use std::io::{self, Write};
use std::thread;

use anyhow::{Context, Result};
use clap::Parser;
use integration_tests::probe;

/// Prints as JSON what this container can do with GPUs.
#[derive(Parser)]
struct Args {
    /// Device numbers, MAJOR:MINOR, to make nodes of and open.
    #[arg(long, value_delimiter = ',')]
    numbers: Vec<probe::Number>,
    /// Libraries that the dynamic loader shall find.
    #[arg(long, value_delimiter = ',')]
    libraries: Vec<String>,
    /// Then wait until killed.
    #[arg(long)]
    hold: bool,
}

fn main() -> Result<()> {
    let mut out = io::stdout().lock();
    if probe::list_mapped_files_if_asked(&mut out)? {
        return Ok(());
    }
    let args = Args::parse();
    let report = probe::report(&args.numbers, &args.libraries)?;
    writeln!(out, "{}", serde_json::to_string(&report)?).context("write to standard output")?;
    out.flush().context("write to standard output")?;
    if args.hold {
        loop {
            thread::park();
        }
    }
    Ok(())
}
