//! The device plugin protocol, by which a plugin offers devices and hands them to containers.
//!
//! Constants and figures: `k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1/constants.go` and
//! `k8s.io/kubernetes/pkg/kubelet/cm/devicemanager`, Kubernetes 1.37.

use std::time::Duration;

/// Messages, clients and servers of version v1beta1, the only one that the kubelet speaks.
#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    unused_qualifications,
    reason = "generated code spells paths out and brings exceptions of its own"
)]
pub mod v1beta1 {
    include!("gen/deviceplugin.v1beta1.rs");
}

/// What [`v1beta1::RegisterRequest::version`] must say.
pub const VERSION: &str = "v1beta1";

/// Where the kubelet and its plugins keep their sockets, on the host.
pub const DEVICE_PLUGIN_DIR: &str = "/var/lib/kubelet/device-plugins";

/// File name of the kubelet's socket in the plugin folder.
pub const KUBELET_SOCKET_NAME: &str = "kubelet.sock";

/// File in the plugin folder where the kubelet remembers resources and allocations. No plugin writes it.
pub const CHECKPOINT_NAME: &str = "kubelet_internal_checkpoint";

/// [`v1beta1::Device::health`] of a device that can be handed out.
pub const HEALTHY: &str = "Healthy";

/// [`v1beta1::Device::health`] of a device that cannot; the kubelet takes every text but [`HEALTHY`] for this.
pub const UNHEALTHY: &str = "Unhealthy";

/// How long the kubelet tries to reach a plugin's socket inside `Register`.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the kubelet waits for `PreStartContainer`. Its other calls have no deadline.
pub const PRE_START_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the kubelet remembers a resource after its last plugin has gone.
pub const STOPPED_ENDPOINT_GRACE: Duration = Duration::from_secs(300);

/// Largest message that the kubelet accepts from a plugin, in bytes: grpc-go's default for a receiver.
pub const MAX_MESSAGE_TO_KUBELET: usize = 4 * 1024 * 1024;
