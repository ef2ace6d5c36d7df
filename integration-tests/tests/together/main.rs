//! Several daemons on one simulated node, without root and network.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail as the test itself does")]

mod presets;
