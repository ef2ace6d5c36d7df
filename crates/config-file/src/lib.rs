//! The config file of a daemon: its text, and the config that is in force, whatever becomes of the file.
//!
//! What a config means is in `gpu-config`, what follows from it in the daemons. It knows no GPU, and no metrics: who counts
//! is called.

mod in_force;
mod keep;
pub mod text;

pub use in_force::{Hooks, InForce, Late, Settings, changed_keys};
pub use keep::keep;
