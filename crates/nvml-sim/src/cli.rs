//! The command line: what a person can ask for, and exit codes. Each command is a few lines into the library.

mod arguments;
mod commands;
mod fault;
mod mig;
mod presets;
mod process;
mod show;
mod watch;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::control::ControlError;
use crate::faults::FaultError;
use crate::functions::{TakesNoGpuError, UnknownFunctionError};
use crate::install::InstallError;
use crate::mig::WantedError;
use crate::private_root::PrivateRootError;
use crate::root::RootError;
use crate::settings::SettingError;
use crate::state::StateFolderError;
use arguments::Arguments;

/// Exit code for bad usage or configuration, as clap's own.
const BAD_USAGE: u8 = 2;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    match commands::run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            if is_bad_usage(&error) { ExitCode::from(BAD_USAGE) } else { ExitCode::FAILURE }
        }
    }
}

/// Whether the person must write something else, as opposed to the machine having failed.
fn is_bad_usage(error: &anyhow::Error) -> bool {
    let folder = |error: &StateFolderError| {
        !matches!(error, StateFolderError::Io { .. } | StateFolderError::Freeze(_))
    };
    let install = |error: &InstallError| match error {
        InstallError::NotThere { .. } | InstallError::NotInRoot { .. } | InstallError::NoSymbols { .. } => {
            true
        }
        InstallError::Folder(error) => folder(error),
        InstallError::NotFound { .. } | InstallError::Io { .. } => false,
    };
    error.chain().any(|cause| {
        cause.is::<arguments::UsageError>()
            || cause.is::<SettingError>()
            || cause.is::<WantedError>()
            || cause.is::<UnknownFunctionError>()
            || cause.is::<FaultError>()
            || cause.is::<TakesNoGpuError>()
            || matches!(cause.downcast_ref(), Some(PrivateRootError::NeedsRoot))
            || cause.downcast_ref::<StateFolderError>().is_some_and(folder)
            || cause.downcast_ref::<InstallError>().is_some_and(install)
            || cause.downcast_ref::<ControlError>().is_some_and(|error| match error {
                ControlError::Folder(error) => folder(error),
                ControlError::NoGpu(_)
                | ControlError::NoFunction(_)
                | ControlError::TakesNoGpu(_)
                | ControlError::Fault(_)
                | ControlError::Mig { .. }
                | ControlError::Process(_)
                | ControlError::InUse(_)
                | ControlError::Drain(_)
                | ControlError::Setting(_) => true,
            })
            || cause.downcast_ref::<RootError>().is_some_and(|error| match error {
                RootError::Folder(error) => folder(error),
                RootError::NotOurs { .. } => true,
                RootError::Install(error) => install(error),
                RootError::Unreachable { .. } | RootError::Io { .. } => false,
            })
    })
}
