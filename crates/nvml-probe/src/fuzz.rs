//! Misuse: sequences of calls as a careless or hostile program makes them, with the code that each must give. Each
//! sequence runs in a process of its own, so that a crash is seen and tells its step. Settings are changed, and GPUs removed,
//! so that it is for simulated libraries alone.
//!
//! Memory ends at a page that nothing may touch: what a library writes past the end is a crash at that very call, whoever
//! built it. What it does wrong in memory of its own a sanitizer sees, with which `make soak` plays the same.

mod crowd;
mod flaw;
mod mig;
mod play;
mod removal;
mod run;
mod sets;
mod step;

pub use flaw::put;
pub use play::{control, play};
pub use run::{Budget, Failure, FuzzError, run};
pub use step::Flaw;
