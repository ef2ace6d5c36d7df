//! Logs on standard error: one line per event, for people or as JSON. Standard output stays free for what
//! a subcommand prints.
//!
//! A panic is an event like any other. So, once the log is set up, every line on standard error has its form.
//!
//! Field names are the same everywhere: `gpu`, `resource`, `pod`, `reason`, `error`; a worker's lines carry `role`.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::io::{self, IsTerminal};
use std::panic::{self, PanicHookInfo};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::ValueEnum;
use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// Whether [`init`] has set up the log of this process.
static IS_SET_UP: AtomicBool = AtomicBool::new(false);

/// Form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people: one line per event, with colour on a terminal.
    #[default]
    Text,
    /// For machines: one JSON object per line.
    Json,
}

/// What to log: a level, or directives of `tracing`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(String);

/// A text that is neither a level nor directives.
#[derive(Debug, Error)]
#[error(
    "{value:?} is no log level: expected error, warn, info, debug, trace, or directives such as info,hyper=debug"
)]
pub struct ParseLogFilterError {
    value: String,
}

impl FromStr for LogFilter {
    type Err = ParseLogFilterError;

    fn from_str(text: &str) -> Result<Self, ParseLogFilterError> {
        // A bare word that is no level would be taken for a module's name, and silence everything else.
        let is_bare_word =
            |part: &str| !part.contains('=') && part.parse::<tracing::Level>().is_err() && part != "off";
        if text.split(',').any(is_bare_word) || EnvFilter::try_new(text).is_err() {
            return Err(ParseLogFilterError { value: text.to_owned() });
        }
        Ok(LogFilter(text.to_owned()))
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Sets up the process' log. The first call counts: later ones, as in tests, change nothing.
pub fn init(filter: &LogFilter, format: LogFormat) {
    let filter = EnvFilter::new(&filter.0);
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let done = match format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).with_target(false).finish().try_init(),
        LogFormat::Json => log.json().flatten_event(true).with_current_span(false).finish().try_init(),
    };
    if done.is_ok() {
        IS_SET_UP.store(true, Ordering::Release);
        panic::set_hook(Box::new(log_panic));
    }
}

/// Whether what is to be said belongs into the log.
pub(crate) fn is_set_up() -> bool {
    IS_SET_UP.load(Ordering::Acquire)
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let panic = info.payload_as_str().unwrap_or("no message");
    let location = info.location().map(ToString::to_string);
    // Only where RUST_BACKTRACE asks for one.
    let backtrace = Backtrace::capture();
    let backtrace = matches!(backtrace.status(), BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(panic, location, backtrace, "panicked");
}
