//! The config file of device plugin and feature discovery: YAML or JSON text to validated values.
//!
//! ```text
//!   text --(file: what can be written)--> File --(check: what it means together)--> Config
//!                  |                                       |
//!                  +---- unknown keys, wrong values -------+--> findings: place, value, what would be right
//! ```
//!
//! The schema is that of NVIDIA's device plugin, `version: v1`, so that its files are accepted unchanged. It knows text
//! and rules: no file is opened, no GPU is looked at.

mod check;
mod config;
mod devices;
mod file;
mod finding;
mod fit;
mod keys;
mod pattern;
mod read;
mod reference;
mod selector;
mod values;

pub use check::MOST_DAEMONS;
pub use config::{
    Config, DeviceFilter, Flags, GfdFlags, GpuRule, Imex, MigRule, PluginFlags, SharedResource, TimeSlicing,
};
pub use devices::{DeviceRef, Devices, ParseDeviceRefError};
pub use finding::{Finding, InvalidConfig};
pub use fit::{NamedDevice, NamedMig};
pub use pattern::Pattern;
pub use read::{Checked, Mode, read};
pub use reference::{json_schema, markdown};
pub use selector::{GpuSelector, ParseGpuSelectorError};
pub use values::{
    ComputeCapability, DeviceIdStrategy, DeviceListStrategy, DiscoveryStrategy, Memory, MigStrategy, Range,
    SharedPolicy, SleepInterval,
};
