//! `bench`: prints the performance table of the device plugin.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    bench::main(bench::args::Args::parse())
}
