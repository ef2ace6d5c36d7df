//! What a plugin's answer puts into a container, in a form that can be printed and stored.
//! Knows the message `ContainerAllocateResponse` and nothing of what it means.

use std::collections::BTreeMap;

use kubelet_api::deviceplugin::v1beta1::ContainerAllocateResponse;
use serde::{Deserialize, Serialize};

/// What a container gets together with its devices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Injection {
    /// Environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub envs: BTreeMap<String, String>,
    /// Bind mounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Device nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub device_nodes: Vec<DeviceNode>,
    /// Annotations for the container runtime.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Qualified names of CDI devices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cdi_devices: Vec<String>,
}

/// A bind mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Path in the container.
    pub container_path: String,
    /// Path on the host.
    pub host_path: String,
    /// Not writable in the container.
    pub read_only: bool,
}

/// A device node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceNode {
    /// Path in the container.
    pub container_path: String,
    /// Path on the host.
    pub host_path: String,
    /// Letters out of `rwm`.
    pub permissions: String,
}

impl From<ContainerAllocateResponse> for Injection {
    fn from(answer: ContainerAllocateResponse) -> Self {
        Injection {
            envs: answer.envs,
            mounts: answer
                .mounts
                .into_iter()
                .map(|mount| Mount {
                    container_path: mount.container_path,
                    host_path: mount.host_path,
                    read_only: mount.read_only,
                })
                .collect(),
            device_nodes: answer
                .devices
                .into_iter()
                .map(|node| DeviceNode {
                    container_path: node.container_path,
                    host_path: node.host_path,
                    permissions: node.permissions,
                })
                .collect(),
            annotations: answer.annotations,
            cdi_devices: answer.cdi_devices.into_iter().map(|device| device.name).collect(),
        }
    }
}
