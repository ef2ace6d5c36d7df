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

/// Folder that the kubelet searches for plugin sockets, on the host.
pub const PLUGINS_REGISTRY_DIR: &str = "/var/lib/kubelet/plugins_registry";

/// [`v1::PluginInfo::type`](v1::PluginInfo) of a device plugin.
pub const DEVICE_PLUGIN_TYPE: &str = "DevicePlugin";
