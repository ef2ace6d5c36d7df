//! NVML behind worker processes: what a daemon asks of the driver, as coarse operations over
//! `gpu-model` types.
//!
//! The process that calls this crate never loads NVML. It starts two workers (the same program,
//! executed again; `main` first asks [`worker::enter_if_asked`] with [`ROLES`]): one answers queries,
//! one waits for events. A call that hangs costs its worker, a crash of the library costs one call, and the GPU
//! that the call was about is left out of the next questions for a while, so that the others are answered.
//!
//! ```text
//!   the daemon                     worker "nvml"                 libnvidia-ml.so.1
//!   Nvml::inventory ── query ──►   queries ── binding::enter ──► nvmlDevice…
//!                   ◄─ each call ─ (entering nvmlDevice…, query)
//!                   ◄─ answer ────
//!   EventStream     ◄─ events ──   worker "nvml-events": watching ──► nvmlEventSetWait_v2
//! ```
//!
//! The binding is private, and no type of it stands in a public signature. What it takes from
//! nvml-wrapper and which functions it calls itself, and why, is told at the head of `binding.rs`.

mod binding;
mod client;
mod code;
mod error;
mod events;
mod probe;
mod protocol;
mod queries;
mod reach;
mod roles;
mod row;
mod status;
mod suspects;
mod watching;

pub use client::{Config, Library, LibrarySource, Nvml};
pub use code::Code;
pub use error::NvmlError;
pub use events::{Event, EventStream, next_event};
pub use probe::{Condition, Fabric, Probe, RecoveryAction, Rows, Slowdown};
pub use reach::GpuAt;
pub use roles::ROLES;
pub use status::Status;
pub use worker::Backoff;
pub use worker::{Deadlines, StartError, State as RoleState, Status as RoleStatus};
