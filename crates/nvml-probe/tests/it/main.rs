//! Tests of `nvml-probe` as a person runs it, on the simulated library.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bench;
mod check;
mod compare;
mod documentation;
mod fuzz;
mod probe;
mod record;
mod walk;
