//! A disposable child process that makes foreign calls which may hang or crash.
//!
//! The child is this same program, executed again ([`enter_if_asked`] comes first in every `main`),
//! and talks with its parent in length-prefixed JSON frames over a socket that it has as its standard
//! input. It reports each foreign call before it makes it ([`Channel::entering`]), so the parent's
//! deadline is one call's without progress, not a request's. Queries, of which there are many, it notes in
//! memory that both have, where the parent looks when it wants to know: a call wakes nobody.
//!
//! The parent's [`Worker`] starts the child when there is a request, and gives it up when it is
//! silent for too long: it kills it and never waits for it, since a process inside the driver may not
//! die. A later request gets a new child, after a back-off.
//!
//! This crate knows no GPU and needs no particular async runtime: its futures wait on
//! `tokio::sync` alone. Idle, neither side wakes up.

mod board;
mod child;
mod client;
mod deadline;
mod frame;
mod spec;
mod status;
mod supervisor;

pub use child::{Channel, ChannelError, Role, enter_if_asked};
pub use client::{CallError, Pending, StartError, Worker};
pub use deadline::{CallClass, Deadlines};
pub use spec::{Backoff, Launch, Spec};
pub use status::{State, Status};
