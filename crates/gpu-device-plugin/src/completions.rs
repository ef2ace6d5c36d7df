//! Shell completions, on standard output.

use std::io;
use std::process::ExitCode;

use crate::args::Args;

/// Prints completions for `shell`.
pub fn print(shell: clap_complete::Shell) -> ExitCode {
    let mut command = Args::definition();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut io::stdout());
    ExitCode::SUCCESS
}
