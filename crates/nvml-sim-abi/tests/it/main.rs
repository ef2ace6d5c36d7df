//! Tests of the built library through its C interface, as other programs load it.
#![expect(unsafe_code, reason = "calls C functions that nvml-wrapper does not wrap, or with wrong arguments")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod desktop;
mod drain;
mod ecc;
mod events;
mod faults;
mod fields;
mod finding;
mod garbage;
mod latency;
mod listing;
mod loads;
mod mig;
mod misuse;
mod old_driver;
mod placement;
mod processes;
mod programs;
mod reload;
mod sharing;
mod sim;
#[cfg(feature = "soak")]
mod soak;
mod surface;
mod sweep;
mod switches;
