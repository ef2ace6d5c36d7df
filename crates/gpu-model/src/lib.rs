//! The vocabulary of GPUs on a node: identities, inventory, topology, health, readings, and the
//! names of labels and resources.
//!
//! Floor 0: pure values. It knows no files, no NVML, no kubelet and no async runtime, and nothing in
//! it fails except parsing. Rules over these types live with the daemon that owns the rule.

mod details;
pub mod failure;
mod health;
mod ids;
mod inventory;
mod mig;
mod mig_profile;
pub mod names;
mod pci;
mod reading;
mod resource;
mod topology;

pub use details::{Detail, DetailSet, Details, FabricState, GpuDetails, PcieLink};
pub use health::{Health, HealthReason};
pub use ids::{GpuUuid, MigUuid, ParseUuidError};
pub use inventory::{DriverVersions, Gpu, GpuFailure, Inventory};
pub use mig::{MigAttributes, MigDevice, MigFailure, MigMode, MigOutline, MigSketch};
pub use mig_profile::{MigEngines, MigProfile, ParseMigProfileError};
pub use pci::{ParsePciAddressError, PciAddress};
pub use reading::Reading;
pub use resource::{ParseResourceNameError, ResourceName};
pub use topology::{CommonAncestor, GpuLink, GpuPlace, Topology};
