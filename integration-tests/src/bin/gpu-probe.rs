//! The program in test pods: prints what its container can do with GPUs, again and again if told to.

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

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
    /// Keep running until killed, and print again every second.
    #[arg(long)]
    hold: bool,
}

fn main() -> Result<()> {
    let mut out = io::stdout().lock();
    if probe::list_mapped_files_if_asked(&mut out)? {
        return Ok(());
    }
    let args = Args::parse();
    loop {
        let report = probe::report(&args.numbers, &args.libraries)?;
        writeln!(out, "{}", serde_json::to_string(&report)?).context("write to standard output")?;
        out.flush().context("write to standard output")?;
        if !args.hold {
            return Ok(());
        }
        thread::park_timeout(Duration::from_secs(1));
    }
}
