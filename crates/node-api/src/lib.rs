//! The Kubernetes API as an agent of one node sees it: its own Node, labels, annotations, events, NodeFeature.
//!
//! The one crate that links a Kubernetes client. It knows no GPU.
