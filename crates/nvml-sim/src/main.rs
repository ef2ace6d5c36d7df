//! `nvml-sim`: the command line of the simulated driver. It only hands over to the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    nvml_sim::cli::main()
}
