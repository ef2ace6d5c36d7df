//! Where the NVIDIA driver is on this node, by what the command line and the config file say of it, and how NVML is asked.
//!
//! Every daemon that asks the driver has it. It finds files and never loads any; it knows no kubelet, and no config file but
//! for the paths in it.

mod args;
mod metrics;
mod paths;
mod settings;
mod unsupported;

pub use args::{DriverArgs, NvmlArgs};
pub use metrics::{NvmlMetrics, Role};
pub use paths::{DriverPaths, FilePaths, Place, PlaceFace, given_or_known, host_path, known_path};
pub use settings::Settings;
pub use unsupported::passed_over;
