//! What tests on a real cluster and the program in their pods have in common: the probe's report.
//!
//! Knows nothing of Gantry's daemons: it tells what a container can do, whoever gave it that.

pub mod probe;
