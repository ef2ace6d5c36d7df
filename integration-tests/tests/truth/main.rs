//! Programs that we did not write judge the simulated driver: NVIDIA's header by a C compiler, and NVIDIA's and others'
//! Python and Go programs by running them. `make truth` runs them; they need a network once, and no cluster.
//!
//! It knows the simulator as its users do, by its programs and files; of Gantry's daemons, that the device plugin takes the
//! config files of NVIDIA's, and that the feature discovery writes NVIDIA's labels.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test's helpers fail and speak as the test itself does"
)]

mod expect;
mod header;
mod labels;
mod node;
mod nvitop;
mod peers;
mod samples;
mod sweep;
mod toolkit;
mod walk;
