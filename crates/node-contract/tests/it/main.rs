//! Tests of the files that daemons share.

#![expect(clippy::unwrap_used, reason = "in helpers, which clippy does not take for tests")]

mod damage;
mod health;
mod lease;
mod mended;
mod node_report;
