//! The pod resources protocol, by which the kubelet tells which pod holds what.

/// Messages, clients and servers of version v1.
#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    unused_qualifications,
    reason = "generated code spells paths out and brings exceptions of its own"
)]
pub mod v1 {
    include!("gen/podresources.v1.rs");
}

/// Where the kubelet serves pod resources, on the host.
pub const POD_RESOURCES_SOCKET: &str = "/var/lib/kubelet/pod-resources/kubelet.sock";

/// Decode limit that a client should set, in bytes. A busy node's answer was seen at 4,753,177 bytes
/// (NVIDIA/dcgm-exporter issue 509), above the 4 MiB that tonic and grpc-go take by default.
pub const MAX_POD_RESOURCES_MESSAGE: usize = 16 * 1024 * 1024;
