//! Tests of the fake kubelet: the suite that the real one passes too, and what only the fake can be asked.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod authority;
mod choice;
mod conformance;
mod control;
mod flight;
mod grace;
mod node;
mod resource_name;
mod streams;
mod tracking;
