//! The client on the simulated driver. This program is executed again as its own workers, so that what
//! is tested is what a daemon does.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test program with its own main, which clippy does not take for a test"
)]

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

mod details;
mod driver;
mod events;
mod faults;
mod garbage;
mod inventory;
mod mig;
mod node;
mod probes;
mod topology;

fn main() -> ExitCode {
    if let Some(code) = worker::enter_if_asked(nvml::ROLES) {
        return code;
    }
    let tests: Vec<(&'static str, fn())> = [
        driver::TESTS,
        inventory::TESTS,
        details::TESTS,
        mig::TESTS,
        topology::TESTS,
        probes::TESTS,
        faults::TESTS,
        events::TESTS,
        garbage::TESTS,
    ]
    .concat();
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
