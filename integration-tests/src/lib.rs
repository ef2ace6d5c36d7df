//! What the tests of this package have in common: the report of the probe, which runs in pods, and programs of others.
//!
//! Knows nothing of Gantry's daemons: the probe tells what a container can do, whoever gave it that.

#[cfg(any(feature = "cluster", feature = "network"))]
pub mod fetch;
pub mod probe;
