//! The program `gpu-device-plugin`; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // A worker is this program, executed again.
    worker::enter_if_asked(&gpu_device_plugin::roles()).unwrap_or_else(gpu_device_plugin::run)
}
