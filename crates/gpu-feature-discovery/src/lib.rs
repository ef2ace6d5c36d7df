//! Feature discovery for NVIDIA GPUs: gives a node the labels that say what its GPUs are.
//!
//! ```text
//!   driver, PCI bus, firmware, the plugin's report --look--> facts --(memory, labels: pure)--> sorted labels
//!                                                                                                   |
//!   config_file, report, events, leases, nfd, SIGHUP --> discovery (the loop) --------------------> shown, a watch
//!                                                                                                   |
//!                                  outputs: the own Node, a NodeFeature object, a file, standard output
//! ```
//!
//! One task, `discovery`, looks and publishes; each output is a task of its own that follows. A driver that is away, a GPU
//! that is missed once, an API server that is down change no label.

mod args;
mod config;
mod discovery;
pub mod facts;
mod fixed;
mod kept;
pub mod labels;
mod leases;
mod look;
mod memory;
mod metrics;
mod nfd;
mod oneshot;
mod outputs;
mod plugin;
mod reach;
mod serve;
mod uninstall;

use std::process::ExitCode;

use args::{Args, Command};
use config::Config;

/// What a worker of this program can be.
pub fn roles() -> Vec<worker::Role> {
    nvml::ROLES.to_vec()
}

/// Name and admin port.
const ABOUT: daemon::About = daemon::About { name: "gpu-feature-discovery", admin_port: 9402 };

/// The whole program: reads the command line, and does what it says. Gives the exit code.
///
/// `main` has to ask [`worker::enter_if_asked`] with [`roles`] before this.
pub fn run() -> ExitCode {
    let mut line = Args::read();
    let command = line.command.take();
    if let Some(Command::Completions { shell }) = command {
        return daemon::print_completions(Args::definition(), shell);
    }
    let (runtime, face) = (line.runtime.clone(), line.defaults.face);
    let config = match Config::new(line) {
        Ok(config) => config,
        Err(error) => return daemon::fail_usage(&error),
    };
    daemon::block_on(async move {
        match command {
            Some(Command::Uninstall) => uninstall::run(&config.outputs).await,
            _ if config.oneshot => oneshot::run(config, face).await,
            _ => serve::serve(config, face, &runtime).await,
        }
    })
}
