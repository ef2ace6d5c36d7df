//! containerd, with CDI as it is by default.

use crate::component::Component;
use crate::layout::in_node;
use crate::network::CNI_FOLDER;

/// Its socket, at the usual place.
pub(crate) const SOCKET: &str = "/run/containerd/containerd.sock";

/// Its configuration file, below the state folder.
pub(crate) const CONFIG: &str = "containerd.toml";

/// The program of the handler `nvidia`, by which containers run whose RuntimeClass names it, as NVIDIA's container toolkit
/// sets containerd up. As the node sees it; it is there once somebody has put it there.
pub fn nvidia_runtime() -> String {
    in_node("nvidia/nvidia-container-runtime")
}

/// The component.
pub(crate) fn component() -> Component {
    Component::new("containerd", [format!("--config={}", in_node(CONFIG))])
}

/// The configuration. `sandbox` is the name of the image that holds a pod's namespaces.
pub(crate) fn config(sandbox: &str) -> String {
    let (runc, cni, handler) = (in_node("bin/runc"), in_node(CNI_FOLDER), nvidia_runtime());
    format!(
        r#"version = 3
root = "/var/lib/containerd"
state = "/run/containerd"

[grpc]
address = "{SOCKET}"

# By default a folder in /opt, which the node has in common with the host.
[plugins.'io.containerd.internal.v1.opt']
path = "/var/lib/containerd/opt"

[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "{sandbox}"

[plugins.'io.containerd.cri.v1.runtime']
# Machines without CAP_SYS_RESOURCE refuse a negative oom_score_adj.
restrict_oom_score_adj = true

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = "{runc}"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.nvidia]
runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.nvidia.options]
BinaryName = "{handler}"

[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "{cni}"
"#
    )
}
