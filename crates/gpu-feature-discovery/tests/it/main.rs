//! Feature discovery: from facts to labels, and the shipped program on a simulated node.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails, and says how far it came")]

mod alone;
mod arbitrary;
mod catalogue;
mod clock;
mod cluster;
mod goldens;
mod harness;
mod keeping;
mod nodes;
mod oneshot;
mod properties;
mod rules;
