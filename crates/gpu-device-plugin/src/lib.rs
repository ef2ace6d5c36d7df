//! The kubelet device plugin for NVIDIA GPUs: offers GPUs, MIG devices and shares of both, and injects them by CDI.
//!
//! ```text
//!            worker processes                         this process
//!   NVML <-- queries, events --> observe --(health, resource_map)--> board     one endpoint for each resource:
//!                                   |    ^                             +--> state --+--> streams --> ListAndWatch
//!                                   |    +-- offering <-- config_file  |            +--> rpc (allocate, preferred) ---+
//!                                   |    +-- staging <-- holders <--(pod resources; grants)-- kubelet, rpc <-----------+
//!                                   |    +-- leases <--> folder of leases, kubelet   |
//!                                   +--> spec_file, report                          +--> registration --> kubelet
//!                                                                                          ^     ^
//!   CRI runtime <-- cdi_proof <-- cdi_gate ------------------------------------------------+     +-- kubelet_view, socket
//! ```
//!
//! `affinity`, `resource_map`, `offering`, `held`, `staging`, `injection`, `allocate`, `preferred` and the rules of `cdi_proof`
//! are pure.
//! One task, `observe`, asks the driver and owns the board; whatever answers the kubelet reads that state from memory and never waits
//! for a driver. Wire types stay in `rpc`, `streams` and `registration`.
//!
//! Start: driver found, libraries staged, inventory, CDI spec on disk, CDI proven, then served and registered;
//! topology after that. Whatever is missing is waited for, with its reason on `/ready`.

mod affinity;
mod allocate;
mod annotation;
mod args;
mod board;
mod cdi_gate;
mod cdi_proof;
mod check;
mod config;
mod connect;
mod device_id;
mod devices;
mod endpoint;
mod explain;
mod explanation;
mod fixed;
mod health;
mod held;
mod holders;
mod host_devices;
mod injection;
mod kubelet_socket;
mod kubelet_view;
mod leases;
mod metrics;
mod modprobe;
mod observe;
mod offering;
mod outlook;
mod person;
mod pod_resources;
mod preferred;
mod registration;
mod report;
mod resource_map;
mod rpc;
mod serve;
mod socket;
mod spec_file;
mod staging;
mod standing;
mod state;
mod streams;

use std::hash::{BuildHasher, RandomState};
use std::process::ExitCode;

use args::{Args, Command};
use config::{Config, Instance};
use daemon::Given;

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
    let mut line = Args::read();
    match &line.command {
        Some(Command::Completions { shell }) => return daemon::print_completions(Args::definition(), *shell),
        Some(Command::Check { file, output }) => return check::check(file, line.face.mode, *output),
        Some(Command::Explain { config: Some(file), .. }) => {
            // A path that is nowhere is told when it is read.
            let path = std::path::absolute(file).unwrap_or_else(|_| file.clone());
            line.paths.config_file = Some(Given { path, name: "--config".to_owned() });
        }
        _ => {}
    }
    let command = line.command.take();
    let runtime = line.runtime.clone();
    let instance = Instance { pid: std::process::id(), token: RandomState::new().hash_one(0u8) };
    let config = match Config::new(line, instance) {
        Ok(config) => config,
        Err(error) => return daemon::fail_usage(&error),
    };
    daemon::block_on(async move {
        match command {
            Some(Command::Devices { output }) => devices::list(&config, output).await,
            Some(Command::Explain { node, output, .. }) => explain::run(&config, &node, output).await,
            Some(Command::Health { command }) => {
                // Without a boot id the plugin keeps nothing either.
                let boot = node_host::boot_id(&config.driver.host).ok();
                health::command::run(command, &config.health_paths, boot).await
            }
            Some(Command::Lease { command }) => {
                leases::command::run(command, &leases::LeasePlaces::of(&config)).await
            }
            _ => serve::serve(config, &runtime).await,
        }
    })
}
