//! Workers that misbehave in every way, and what their parent makes of it. This program is both: it
//! is executed again as the worker ([`fake`]) and as a parent that dies ([`lifetime`]).

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test program with its own main, which clippy does not take for a test"
)]

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

mod deadlines;
mod failures;
mod fake;
mod lifetime;
mod requests;

fn main() -> ExitCode {
    if let Some(code) = fake::enter_if_raw() {
        return code;
    }
    if let Some(code) = worker::enter_if_asked(fake::ROLES) {
        return code;
    }
    if let Some(code) = lifetime::enter_if_parent() {
        return code;
    }
    let tests: Vec<(&'static str, fn())> =
        [requests::TESTS, deadlines::TESTS, failures::TESTS, lifetime::TESTS].concat();
    let trials = tests.into_iter().map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

/// Lists test functions by their names.
macro_rules! tests {
    ($($name:ident),+ $(,)?) => {
        pub const TESTS: &[(&str, fn())] = &[$((stringify!($name), $name)),+];
    };
}
pub(crate) use tests;
