//! `test-cluster up|down|status|kubectl|enter`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    test_cluster::cli::main()
}
