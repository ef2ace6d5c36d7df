//! Tests of the engine and of the `nvml-sim` command.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod command_line;
mod counters;
#[cfg(target_arch = "x86_64")]
mod crash_points;
mod following_roots;
mod host_root;
mod lives;
mod mig;
mod mig_command;
mod node_files;
mod private_root;
mod processes;
mod reference;
mod rules;
mod sim;
mod state_folder;
mod stories;
#[cfg(target_arch = "x86_64")]
mod tracer;
mod watching;
