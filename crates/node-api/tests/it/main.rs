//! The keepers over a fake API server: what reaches the Node, what is left alone, and every way in which a server fails.

#![expect(clippy::panic, clippy::unwrap_used, reason = "in helpers, which clippy does not take for tests")]

mod bench;
mod events;
mod failures;
mod labels;
mod node_feature;
mod refusals;
mod rules;
