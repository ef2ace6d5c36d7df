//! A referee for tests with faults: it looks at a node again and again while they run, and says afterwards whether
//! anything was seen that must never be.
//!
//! [`record()`] keeps the looks, [`check()`] is a pure function over them. It knows the kubelet's pod resources protocol and
//! one gauge of the plugin's metrics; what is really broken, a test tells it by a [`Truth`], so that neither the plugin
//! nor the simulated driver judges itself.

mod check;
mod look;
mod pod_resources;
mod record;
mod truth;

pub use check::{Source, Violation, check};
pub use look::{Container, Ids, Look, Progress, Seen, gpu_states};
pub use pod_resources::{AskError, PodResources, pod_resources};
pub use record::record;
pub use truth::Truth;
