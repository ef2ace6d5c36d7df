//! The pod resources protocol, by which the kubelet tells which pod holds what.

use tonic::transport::Channel;

use v1::pod_resources_lister_client::PodResourcesListerClient;

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

/// Decode limit of a client, in bytes. A busy node's answer was seen at 4,753,177 bytes
/// (NVIDIA/dcgm-exporter issue 509), above the 4 MiB that tonic and grpc-go take by default.
const MAX_POD_RESOURCES_MESSAGE: usize = 16 * 1024 * 1024;

/// A client on `channel` that takes the answer of a busy node, too.
pub fn client(channel: Channel) -> PodResourcesListerClient<Channel> {
    PodResourcesListerClient::new(channel).max_decoding_message_size(MAX_POD_RESOURCES_MESSAGE)
}
