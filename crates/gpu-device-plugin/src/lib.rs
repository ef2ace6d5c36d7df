//! The kubelet device plugin for NVIDIA GPUs: offers whole GPUs as `nvidia.com/gpu` and injects them by CDI.
//!
//! ```text
//!            worker processes                         this process
//!   NVML <-- queries, events --> observe --(health)--> state --+--> streams --> ListAndWatch
//!                                   |                          +--> rpc (allocate, preferred)
//!                                   +--> spec_file, report     +--> registration --> kubelet
//!                                                                      ^     ^
//!   CRI runtime <-- cdi_proof <-- cdi_gate ----------------------------+     +-- kubelet_socket, socket
//! ```
//!
//! `health`, `xid`, `affinity`, `allocate`, `preferred` and the rules of `cdi_proof` are pure. One task, `observe`,
//! asks the driver and owns the state; whatever answers the kubelet reads that state from memory and never waits
//! for a driver. Wire types stay in `rpc`, `streams` and `registration`.
//!
//! Start: driver found, libraries staged, inventory, CDI spec on disk, CDI proven, then served and registered;
//! topology after that. Whatever is missing is waited for, with its reason on `/ready`.

mod affinity;
mod allocate;
mod args;
mod beat;
mod cdi_gate;
mod cdi_proof;
mod check;
mod completions;
mod config;
mod connect;
mod devices;
mod driver;
mod file_identity;
mod files;
mod health;
mod kubelet_socket;
mod metrics;
mod observe;
mod preferred;
mod registration;
mod report;
mod rpc;
mod serve;
mod socket;
mod spec_file;
mod state;
mod stdout;
mod streams;
mod xid;

use std::hash::{BuildHasher, RandomState};
use std::process::ExitCode;

use args::{Args, Command, CommandLine};
use config::{Config, Instance};
use gpu_config::Mode;

/// Name and admin port.
const ABOUT: daemon::About = daemon::About { name: "gpu-device-plugin", admin_port: 9401 };

/// The whole program: reads the command line, and does what it says. Gives the exit code.
///
/// `main` has to ask [`worker::enter_if_asked`] with [`nvml::ROLES`] before this.
pub fn run() -> ExitCode {
    let CommandLine { command, paths, behaviour, runtime } = Args::read();
    match command {
        Some(Command::Completions { shell }) => return completions::print(shell),
        Some(Command::Check { file, compat, output }) => {
            return check::check(&file, if compat { Mode::Compat } else { Mode::Strict }, output);
        }
        _ => {}
    }
    let instance = Instance { pid: std::process::id(), token: RandomState::new().hash_one(0u8) };
    let config = match Config::new(paths, behaviour, &runtime, instance) {
        Ok(config) => config,
        Err(error) => return daemon::fail_usage(&error),
    };
    daemon::block_on(async move {
        match command {
            Some(Command::Devices { output }) => devices::list(&config, output).await,
            _ => serve::serve(config, &runtime).await,
        }
    })
}
