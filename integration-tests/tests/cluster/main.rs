//! Tests on a real one-node Kubernetes: real kubelet, scheduler, API server and containerd, the image and the
//! manifest as shipped, and a simulated driver with real device nodes. `make e2e` runs them.
//!
//! They act on one node, so they run one after the other: each takes the [`node::Node`], which is locked.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test's helpers fail and speak as the test itself does"
)]

mod api_server;
mod conformance;
mod daemon;
mod discovery;
mod driver;
mod health;
mod images;
mod isolation;
mod kustomization;
mod lease;
mod lifecycle;
mod loader;
mod management;
mod manifests;
mod mig;
mod node;
mod nodefeature;
mod nvidia;
mod older_kubelet;
mod plugin;
mod pod;
mod protocols;
mod restarts;
mod rights;
mod scheduling;
mod sharing;
mod simulation;
mod toolkit;
mod upgrade;
mod watch;
