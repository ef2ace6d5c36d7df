//! Process tests: the shipped binary on a simulated driver, with a fake kubelet.

#![expect(clippy::unwrap_used, reason = "a test says where it fails by panicking there")]

mod allocation;
mod bad_input;
mod cdi;
mod chaos;
mod driver;
mod faults_clock;
mod faults_driver;
mod faults_kubelet;
mod harness;
mod health;
mod health_kept;
mod health_recovery;
mod holders;
mod injection;
mod kubelet;
mod lease_command;
mod leases;
mod management;
mod mig;
mod overlap;
mod peer;
mod resources;
mod usage;
mod versions;
