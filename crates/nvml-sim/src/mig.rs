//! Multi-instance GPUs: which profiles a model has, which instances there are, and the rules by which they come and
//! go. It knows neither the state folder nor NVML's calls.

mod compute;
mod instances;
mod layout;
mod mode;
mod steps;
mod table;
mod views;

pub use instances::{ComputeInstance, GpuInstance, GpuMig, MigState};
pub use layout::{Wanted, WantedError, compute_wanted, wanted};
pub use table::{ComputeInstanceProfile, Engines, GpuInstanceProfile, MigTable};
pub use views::{ComputeInstanceView, DeviceView, GpuInstanceView};
