//! The harness itself: what daemons' tests rely on.

#![expect(clippy::unwrap_used, reason = "in helpers, which clippy does not take for tests")]

mod node;
mod process;
mod waiting;
