//! Where everything of a cluster lies: on the host, and as seen inside the node.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::fingerprint::Fingerprint;

/// The name under which the node registers.
pub(crate) const NODE_NAME: &str = "gantry-node";

/// The state folder as the node sees it. Constant, so that no component's configuration depends on where
/// the checkout lies, and socket paths stay short.
pub(crate) const IN_NODE: &str = "/run/cluster";

/// Folders of the node that are not the host's: (path in the node, folder below the state folder). `/run` is the
/// first, since the state folder itself appears in it.
pub(crate) const PRIVATE: [(&str, &str); 3] =
    [("/run", "node/run"), ("/var/lib", "node/var-lib"), ("/var/log", "node/var-log")];

/// The folders of one cluster on the host.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    workspace: PathBuf,
    name: String,
}

impl Layout {
    /// The layout of the cluster `name`.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self::in_workspace(here.ancestors().nth(2).unwrap_or(here), name)
    }

    /// The layout of the cluster `name` of the checkout in `workspace`.
    pub(crate) fn in_workspace(workspace: &Path, name: &str) -> Result<Self> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || !name.chars().all(plain) || name == "tools" {
            bail!("cluster name {name:?}: use lower-case letters, digits and '-', and not \"tools\"");
        }
        Ok(Self { workspace: workspace.to_path_buf(), name: name.to_owned() })
    }

    /// Programs built for any cluster of this checkout.
    pub(crate) fn tools_cache(&self) -> PathBuf {
        self.workspace.join(".cache/cluster/tools")
    }

    /// The Go modules that name those programs.
    pub(crate) fn tool_modules(&self) -> PathBuf {
        self.workspace.join("crates/test-cluster/tools")
    }

    /// The state folder.
    pub(crate) fn root(&self) -> PathBuf {
        self.workspace.join(".cache/cluster").join(&self.name)
    }

    /// A path below the state folder.
    pub(crate) fn at(&self, below: &str) -> PathBuf {
        self.root().join(below)
    }

    pub(crate) fn log(&self, component: &str) -> PathBuf {
        self.root().join("logs").join(format!("{component}.log"))
    }

    /// The cluster's own cgroup, in every hierarchy. Another checkout's cluster of this name has another one:
    /// what is in a cgroup is killed with its cluster.
    pub(crate) fn cgroup(&self) -> String {
        let place = Fingerprint::of(self.root().as_os_str().as_encoded_bytes());
        format!("/gantry-{}-{place}", self.name)
    }

    /// Where a path of the node lies on the host: below the state folder for what is the node's own, the
    /// path itself for what node and host have in common.
    pub(crate) fn of_node(&self, path: &Path) -> PathBuf {
        if let Ok(below) = path.strip_prefix(IN_NODE) {
            return self.root().join(below);
        }
        // Debian's /var/run is a link to /run.
        let path =
            path.strip_prefix("/var/run").map(|below| Path::new("/run").join(below)).unwrap_or(path.into());
        for (in_node, folder) in PRIVATE {
            if let Ok(below) = path.strip_prefix(in_node) {
                return self.root().join(folder).join(below);
            }
        }
        path
    }
}

/// A path below the state folder as the node sees it.
pub(crate) fn in_node(below: &str) -> String {
    format!("{IN_NODE}/{below}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_the_node_lies_below_the_state_folder_when_private_and_is_itself_otherwise() {
        let layout = Layout::new("x").unwrap();
        let root = layout.root();
        let of_node = |path: &str| layout.of_node(Path::new(path));
        assert_eq!(of_node("/var/lib/kubelet/pods"), root.join("node/var-lib/kubelet/pods"));
        assert_eq!(of_node("/var/run/cdi"), root.join("node/run/cdi"));
        assert_eq!(of_node("/run/cluster/pki/ca.crt"), root.join("pki/ca.crt"));
        assert_eq!(of_node("/usr/lib/cni"), Path::new("/usr/lib/cni"));
    }

    #[test]
    fn a_cluster_of_the_same_name_in_another_checkout_has_another_cgroup() {
        let cgroup = |checkout| Layout::in_workspace(Path::new(checkout), "e2e").unwrap().cgroup();
        assert_ne!(cgroup("/home/a/gantry"), cgroup("/home/b/gantry"));
        assert_eq!(cgroup("/home/a/gantry"), cgroup("/home/a/gantry"));
    }

    #[test]
    fn a_name_that_could_leave_the_folder_is_refused() {
        for name in ["", "../x", "a/b", "tools", "Upper"] {
            assert!(Layout::new(name).is_err(), "{name:?} was taken");
        }
    }
}
