//! A Kubernetes API server of one node for process tests: it records requests and injects faults.
//!
//! It knows its clients by their requests alone. It serves Nodes, NodeFeatures and events with what node agents use of
//! them: get, create, update, delete, merge patch, server-side apply of labels and annotations with its field managers, and
//! watches of one Node. What it answers is held to the real API server by [`conformance`].
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use fake_apiserver::{FakeApiServer, Fault, Times};
//!
//! let server = FakeApiServer::start().await?;
//! server.write_kubeconfig(std::path::Path::new("/tmp/kubeconfig"))?;
//! server.create_node("node-1", &[("kubernetes.io/os", "linux")]);
//! server.inject(Fault::code(503), Times::Next(2), Some("patch"));
//! for request in server.requests() {
//!     println!("{} {} {}", request.verb, request.path, request.code);
//! }
//! # Ok(())
//! # }
//! ```

mod answer;
mod api;
mod apply;
pub mod conformance;
mod faults;
mod fields;
mod metadata;
mod server;
mod state;
mod watches;

pub use faults::{Fault, Times};
pub use server::FakeApiServer;
pub use state::Request;
