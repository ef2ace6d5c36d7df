//! The program `gpu-feature-discovery`; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // A worker is this program, executed again.
    worker::enter_if_asked(&gpu_feature_discovery::roles()).unwrap_or_else(gpu_feature_discovery::run)
}
