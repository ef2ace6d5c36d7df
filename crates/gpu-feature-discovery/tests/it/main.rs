//! Feature discovery from facts to labels.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails, and says how far it came")]

mod arbitrary;
mod catalogue;
mod goldens;
mod nodes;
mod properties;
mod rules;
