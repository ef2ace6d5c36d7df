//! Tests of the daemon runtime, over loopback on free ports, and of its life as a process.

#![expect(clippy::unwrap_used, reason = "in helpers, which clippy does not take for tests")]

mod admin_server;
mod arguments;
mod errors;
mod http;
mod lifetime;
mod process;
mod readiness;
