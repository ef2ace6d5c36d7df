//! A kubelet stand-in: the device manager of a real kubelet, without a cluster, without root.
//!
//! A device plugin cannot tell the difference. [`FakeKubelet`] owns a plugin folder, serves `kubelet.sock` and the pod
//! resources socket, keeps the books on devices and pods as the real one does, and hands out devices by the same rules.
//! [`conformance`] is the suite that holds this fake, and a real kubelet, to the same behaviour.
//!
//! Knows the kubelet's protocols and rules (as read in `k8s.io/kubernetes` v1.37.2, `pkg/kubelet/cm/devicemanager`),
//! nothing of GPUs and nothing of Gantry's daemons: it is their judge. [`Builder::tracking_by_resource`] makes it an older one in
//! the one thing in which plugins tell those apart.
//!
//! Left out: scheduler, containers and their runtime. A "pod" is a name that holds devices until it is released.

mod admission;
mod align;
mod authority;
mod books;
mod checkpoint;
pub mod conformance;
pub mod control;
mod dial;
mod events;
mod incarnation;
mod injection;
mod kubelet;
mod listen;
mod pod_resources;
mod registration;
mod resource_name;
mod state;

pub use admission::{AdmissionError, Allocation};
pub use align::align;
pub use events::{Event, Happening};
pub use injection::{DeviceNode, Injection, Mount};
pub use kubelet::{Builder, FakeKubelet, StartError};
pub use resource_name::is_extended_resource_name;
pub use state::{DeviceState, Holding, PodName, PodNameError, PodRequest, PodState, ResourceState, State};
