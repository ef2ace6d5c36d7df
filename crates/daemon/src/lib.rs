//! The runtime of every daemon: arguments that all share, logs, signals and drain, a set of tasks none of
//! which may fail unseen, readiness by handles, the metrics registry and the admin server.
//!
//! It knows no GPU, no kubelet, no file of ours. A daemon's `main` is
//!
//! ```no_run
//! use clap::Parser;
//! use std::process::ExitCode;
//!
//! #[derive(Parser)]
//! struct Args {
//!     #[command(flatten)]
//!     runtime: daemon::RuntimeArgs,
//! }
//!
//! const ABOUT: daemon::About = daemon::About { name: "gpu-example", admin_port: 9499 };
//!
//! fn main() -> ExitCode {
//!     let args = Args::parse();
//!     daemon::block_on(async move {
//!         let runtime = match daemon::Runtime::start(&args.runtime, ABOUT).await {
//!             Ok(runtime) => runtime,
//!             Err(error) => return daemon::fail(&error),
//!         };
//!         let shutdown = runtime.shutdown();
//!         runtime.spawn_vital("example", async move {
//!             shutdown.requested().await;
//!             Ok::<(), std::convert::Infallible>(())
//!         });
//!         runtime.run_until_done().await
//!     })
//! }
//! ```
//!
//! # Exit codes
//!
//! 0 after a drain; 1 when a task failed, did not end within the drain deadline, or the start failed; 2 for
//! bad usage or configuration; 128 + the signal's number (130, 143) when a second signal cut the drain short.

pub mod absent;
pub mod admin;
mod args;
mod beat;
mod build;
mod columns;
mod completions;
mod error;
mod executor;
pub mod files;
mod given;
mod hang_ups;
pub mod log;
mod metrics;
mod readiness;
mod runtime;
mod shutdown;
pub mod stdout;
mod tasks;

pub use args::{ParseDurationError, RuntimeArgs, parse_duration};
pub use beat::{Beat, beat};
pub use build::{About, BuildInfo};
pub use columns::aligned;
pub use completions::print_completions;
pub use error::{error_chain, fail, fail_usage};
pub use executor::block_on;
pub use given::{
    ConfigError, Given, absolute, absolute_flag, between, given, is_called, strongest, strongest_source,
    without_empty_variable, word,
};
pub use metrics::own_metrics;
pub use readiness::{Component, ComponentState, Readiness, ReadinessReport};
pub use runtime::{Runtime, StartError};
pub use shutdown::Shutdown;
pub use tasks::Tasks;
