//! The demo, run whole as a user runs it.

#![expect(clippy::unwrap_used, reason = "in helpers, which clippy does not take for tests")]

mod run;
mod show;
