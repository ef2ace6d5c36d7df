//! Arguments that every daemon takes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use thiserror::Error;

use crate::log::{LogFilter, LogFormat};

/// Arguments that every daemon takes; flatten them into its own.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Runtime")]
pub struct RuntimeArgs {
    /// What to log: error, warn, info, debug, trace, or directives such as info,hyper=debug
    #[arg(long, env = "GANTRY_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    pub log_level: LogFilter,

    /// Form of the log
    #[arg(long, env = "GANTRY_LOG_FORMAT", value_name = "FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,

    /// Address of /live, /ready, /metrics and /version [default: all addresses, the daemon's own port]
    #[arg(long, env = "GANTRY_ADMIN_ADDRESS", value_name = "ADDRESS:PORT")]
    pub admin_address: Option<SocketAddr>,

    /// Where the host's root directory is, as this process sees it
    #[arg(long, env = "GANTRY_HOST_ROOT", value_name = "DIR", default_value = "/")]
    pub host_root: PathBuf,

    /// Folder for files that other daemons read; emptied by a reboot
    #[arg(long, env = "GANTRY_RUN_DIR", value_name = "DIR", default_value = "/run/gantry")]
    pub run_dir: PathBuf,

    /// How long tasks may take to end after a signal, such as 10s or 500ms
    #[arg(long, env = "GANTRY_DRAIN_DEADLINE", value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    pub drain_deadline: Duration,
}

/// A text that is no duration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a duration: expected a whole number and a unit (ms, s, m or h), such as 500ms or 10s")]
pub struct ParseDurationError(String);

/// Reads a duration as flags give it: a whole number and `ms`, `s`, `m` or `h`.
pub fn parse_duration(text: &str) -> Result<Duration, ParseDurationError> {
    let error = || ParseDurationError(text.to_owned());
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| error())?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    };
    milliseconds.map(Duration::from_millis).ok_or_else(error)
}
