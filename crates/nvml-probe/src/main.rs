//! `nvml-probe`: its command line only hands over to the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    nvml_probe::cli::main()
}
