//! Walks any NVML library through its C interface: what each getter answers, a recording of a node for the simulator,
//! how quick it is, and whether misuse gets its code and never a crash.
//!
//! It takes NVML's facts from the header's bindings and knows nothing of the simulator's engine, so that it can judge it.

mod bench;
mod call;
mod check;
pub mod cli;
mod code;
mod compare;
mod ffi;
mod fuzz;
mod host;
mod layout;
mod misuse;
mod record;
mod session;
mod suite;
mod table;
mod walk;

pub use check::{Check, check};
pub use compare::{Difference, compare, shape};
pub use record::{RecordError, record};
pub use walk::{Answers, GpuWalk, InstanceWalk, Walk};
