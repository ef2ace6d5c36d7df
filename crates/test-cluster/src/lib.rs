//! A real one-node Kubernetes for end-to-end tests: etcd, control plane, containerd and kubelet as
//! processes of this machine, with no container engine and no registry.
//!
//! Knows how to build the programs, start them, ask them and end them. Knows nothing of GPUs and of
//! Gantry's daemons; what is deployed on the cluster is its user's business.
//!
//! # The node
//!
//! The whole cluster lives in a mount, network and process-id namespace of its own (see `node.rs`). In there
//! `/run`, `/var/lib` and `/var/log` are folders of the cluster's state folder, so that the kubelet and
//! containerd use their usual paths and nothing of the host's is touched. All its processes are in a cgroup of
//! its own, named after checkout and cluster; killing what is in there ends every process and every mount of
//! the cluster, whatever an earlier run left and whether or not it recorded that.
//! The kernel's settings that a kubelet makes are files of the node, too.

mod archive;
mod cgroup;
pub mod cli;
mod cluster;
mod component;
mod containerd;
mod control_plane;
mod fingerprint;
mod image;
mod kubectl;
mod kubelet;
mod layout;
mod lock;
mod network;
mod node;
mod packages;
mod pki;
mod poll;
mod process;
mod progress;
mod remains;
mod state;
mod status;
mod tools;

pub use archive::{ImageConfig, write_archive};
pub use cluster::{Cluster, DEFAULT_NAME};
pub use containerd::nvidia_runtime;
pub use kubectl::{CommandFailed, Kubectl};
pub use kubelet::KubeletRelease;
pub use poll::{Verdict, until};
pub use tools::kubectl_program;
