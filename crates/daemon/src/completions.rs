//! Shell completions, on standard output.

use std::process::ExitCode;

use crate::{error, stdout};

/// Prints completions of the program `command` for `shell`, and gives the exit code.
pub fn print_completions(mut command: clap::Command, shell: clap_complete::Shell) -> ExitCode {
    let name = command.get_name().to_owned();
    // Into memory first: clap_complete panics where it cannot write.
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut text);
    match stdout::write(&text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error::fail(&error),
    }
}
