//! The benchmark as a program: short runs of it, whose figures say nothing.

#![expect(clippy::unwrap_used, reason = "in helpers, which clippy does not take for tests")]

mod run;
mod usage;
