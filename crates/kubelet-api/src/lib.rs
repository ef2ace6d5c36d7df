//! The kubelet's gRPC protocols: messages, clients, servers and the constants that the protocols leave out.
//!
//! Knows only what goes over the sockets; no socket is opened and no rule of the kubelet is applied here.
//! The code under `src/gen` comes from the repository's `proto/` by `cargo xtask gen`; never edit it.

pub mod deviceplugin;
pub mod pluginregistration;
pub mod podresources;
