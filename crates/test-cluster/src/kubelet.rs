//! The kubelet, at its usual paths.

use crate::component::Component;
use crate::containerd;
use crate::layout::{NODE_NAME, in_node};
use crate::network::NODE_IP;

/// Its configuration file, below the state folder.
pub(crate) const CONFIG: &str = "kubelet.yaml";

/// The component.
pub(crate) fn component() -> Component {
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
