//! A Kubernetes API server of one node for process tests: it records requests and injects faults.
//!
//! It knows its clients by their requests alone.
