//! The harness itself: what daemons' tests rely on.

mod node;
mod process;
mod waiting;
