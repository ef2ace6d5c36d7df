//! The plugin registration protocol, by which the kubelet finds plugins on its own.

/// Messages, clients and servers of version v1.
#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    unused_qualifications,
    reason = "generated code spells paths out and brings exceptions of its own"
)]
pub mod v1 {
    include!("gen/pluginregistration.v1.rs");
}
