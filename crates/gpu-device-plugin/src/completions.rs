//! Shell completions, on standard output.

use std::process::ExitCode;

use crate::args::Args;
use crate::stdout;

/// Prints completions for `shell`.
pub fn print(shell: clap_complete::Shell) -> ExitCode {
    let mut command = Args::definition();
    let name = command.get_name().to_owned();
    // Into memory first: clap_complete panics where it cannot write.
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut text);
    match stdout::write(&text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => daemon::fail(&error),
    }
}
