//! Feature discovery for NVIDIA GPUs: gives a node the labels that say what its GPUs are.
//!
//! ```text
//!   driver, PCI bus, firmware, the plugin's report --> facts --(labels: pure and total)--> sorted labels --> outputs
//! ```

pub mod facts;
pub mod labels;
