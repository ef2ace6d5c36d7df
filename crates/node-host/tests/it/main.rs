//! Tests of the host's files, on temporary folders that look like hosts.

#![expect(clippy::panic, clippy::unwrap_used, reason = "in helpers, which clippy does not take for tests")]

mod atomic_write;
mod companions;
mod device_nodes;
mod driver_root;
mod extras;
mod fixture;
mod kernel_files;
mod machine;
mod mig_capabilities;
mod paths;
mod pci_functions;
mod simulated_machines;
mod staging;
mod vgpu;
