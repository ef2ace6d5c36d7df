//! A whole simulated node for process tests and shows: driver, host root, kubelet, container runtime, and daemons
//! as the processes that they are on a real node.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use sim_node::{SimNode, eventually};
//! let node = SimNode::builder().preset("dgx-a100").build()?;
//! let plugin = node.spawn_plugin(&[])?;
//! eventually("the kubelet has 8 GPUs", Duration::from_secs(20), || {
//!     let state = node.kubelet().state().map_err(|error| error.to_string())?;
//!     let gpus = state.resources.get("nvidia.com/gpu").ok_or("not registered")?;
//!     if gpus.allocatable == 8 { Ok(()) } else { Err(format!("{gpus:?}")) }
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! All calls block and come back by a deadline. Everything is in one temporary folder, and goes with the node:
//! processes first. It knows programs by name and by what they promise; it links no daemon.

mod admin;
mod builder;
mod container;
mod container_runtime;
mod eventually;
mod kubelet;
mod node;
mod process;
mod programs;

pub use admin::{AdminAnswer, AdminError};
pub use builder::{BuildError, Builder};
pub use container::{ContainerView, ResolveError, resolve};
pub use container_runtime::{ContainerRuntime, RuntimeAnswer};
pub use eventually::{NotInTime, eventually};
pub use golden::assert_golden;
pub use kubelet::{Kubelet, KubeletError};
pub use node::SimNode;
pub use process::{Process, Signal, SpawnError, WaitError};
pub use programs::{MissingProgram, find};
