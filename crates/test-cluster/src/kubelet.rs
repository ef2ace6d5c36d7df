//! The kubelet, at its usual paths.

use serde::{Deserialize, Serialize};

use crate::component::Component;
use crate::containerd;
use crate::layout::{NODE_NAME, in_node};
use crate::network::NODE_IP;

/// Its configuration file, below the state folder.
pub(crate) const CONFIG: &str = "kubelet.yaml";

/// Which kubelet runs the node. Arguments, configuration and the node's files are the same for all: a kubelet keeps its state so
/// that the one before it can read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum KubeletRelease {
    /// That of the API server.
    #[default]
    Current,
    /// The last one that knows a device plugin by its resource alone.
    V1_36,
}

impl KubeletRelease {
    /// Its program, built by one of the modules in `tools/`.
    fn program(self) -> &'static str {
        match self {
            Self::Current => "kubelet",
            Self::V1_36 => "kubelet-1.36",
        }
    }
}

/// The component.
pub(crate) fn component(release: KubeletRelease) -> Component {
    Component::new(
        "kubelet",
        [
            format!("--config={}", in_node(CONFIG)),
            format!("--kubeconfig={}", in_node("kubelet.kubeconfig")),
            format!("--hostname-override={NODE_NAME}"),
            format!("--node-ip={NODE_IP}"),
            "--v=2".to_owned(),
        ],
    )
    .run_by(release.program())
}

/// The configuration. `cgroup` is the cluster's own cgroup.
pub(crate) fn config(cgroup: &str) -> String {
    let ca = in_node("pki/ca.crt");
    let socket = containerd::SOCKET;
    format!(
        r#"apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://{socket}
authentication:
  anonymous: {{ enabled: false }}
  webhook: {{ enabled: false }}
  x509: {{ clientCAFile: {ca} }}
authorization: {{ mode: AlwaysAllow }}
cgroupDriver: cgroupfs
cgroupRoot: {cgroup}
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
# A full disk of the developer's machine is no reason to evict.
evictionHard: {{ memory.available: 50Mi, nodefs.available: 1%, imagefs.available: 1% }}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
# The default lies in /usr/libexec, which the node has in common with the host.
volumePluginDir: /var/lib/kubelet/volume-plugins
makeIPTablesUtilChains: false
resolvConf: ""
# A change of devices is on the Node object after one second instead of ten.
nodeStatusUpdateFrequency: 1s
"#
    )
}
