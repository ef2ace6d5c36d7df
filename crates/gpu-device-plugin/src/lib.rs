//! The kubelet device plugin for NVIDIA GPUs: offers GPUs, MIG devices and shares of both, and injects them by CDI.
//!
//! ```text
//!            worker processes                         this process
//!   NVML <-- queries, events --> observe --(health, resource_map)--> board     one endpoint for each resource:
//!                                   |    ^                             +--> state --+--> streams --> ListAndWatch
//!                                   |    +-- offering <-- config_file  |            +--> rpc (allocate, preferred)
//!                                   +--> spec_file, report                          +--> registration --> kubelet
//!                                                                                          ^     ^
//!   CRI runtime <-- cdi_proof <-- cdi_gate ------------------------------------------------+     +-- kubelet_view, socket
//! ```
//!
//! `affinity`, `resource_map`, `offering`, `allocate`, `preferred` and the rules of `cdi_proof` are pure.
//! One task, `observe`, asks the driver and owns the board; whatever answers the kubelet reads that state from memory and never waits
//! for a driver. Wire types stay in `rpc`, `streams` and `registration`.
//!
//! Start: driver found, libraries staged, inventory, CDI spec on disk, CDI proven, then served and registered;
//! topology after that. Whatever is missing is waited for, with its reason on `/ready`.

mod affinity;
mod allocate;
mod args;
mod beat;
mod board;
mod cdi_gate;
mod cdi_proof;
mod check;
mod columns;
mod completions;
mod config;
mod config_file;
mod config_text;
mod connect;
mod device_id;
mod devices;
mod driver;
mod endpoint;
mod file_identity;
mod files;
mod health;
mod kubelet_socket;
mod kubelet_view;
mod metrics;
mod modprobe;
mod observe;
mod offering;
mod preferred;
mod registration;
mod report;
mod resource_map;
mod rpc;
mod serve;
mod socket;
mod spec_file;
mod standing;
mod state;
mod stdout;
mod streams;

use std::hash::{BuildHasher, RandomState};
use std::process::ExitCode;

use args::{Args, Command, CommandLine};
use config::{Config, Instance};
use gpu_config::Mode;

/// What a worker of this program can be: NVML's roles, and its own.
pub fn roles() -> Vec<worker::Role> {
    [nvml::ROLES, modprobe::ROLES].concat()
}

/// Name and admin port.
const ABOUT: daemon::About = daemon::About { name: "gpu-device-plugin", admin_port: 9401 };

/// The whole program: reads the command line, and does what it says. Gives the exit code.
///
/// `main` has to ask [`worker::enter_if_asked`] with [`roles`] before this.
pub fn run() -> ExitCode {
    let CommandLine { command, paths, behaviour, runtime } = Args::read();
    match command {
        Some(Command::Completions { shell }) => return completions::print(shell),
        Some(Command::Check { file, output }) => {
            return check::check(&file, if behaviour.compat { Mode::Compat } else { Mode::Strict }, output);
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
            Some(Command::Health { command }) => {
                // Without a boot id the plugin keeps nothing either.
                let boot = node_host::boot_id(&config.driver.host).ok();
                health::command::run(command, &config.health_paths, boot).await
            }
            _ => serve::serve(config, &runtime).await,
        }
    })
}
