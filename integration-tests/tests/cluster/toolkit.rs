//! NVIDIA's container toolkit on the node, as its own installer leaves it: its runtime behind containerd's handler `nvidia`, a
//! RuntimeClass, and a CDI spec that it made of the driver.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use integration_tests::fetch;
use serde_json::json;
use test_cluster::nvidia_runtime;

use crate::node::{MARK, Node};
use crate::simulation;

/// The RuntimeClass of pods that it starts.
pub const CLASS: &str = "nvidia";

const SPEC: &str = "/var/run/cdi/nvidia.yaml";

/// Its runtime injects by CDI, from that folder, and then calls the cluster's runc.
const CONFIG: &str = r#"
[nvidia-container-runtime]
mode = "cdi"
runtimes = ["/run/cluster/bin/runc"]

[nvidia-container-runtime.modes.cdi]
default-kind = "nvidia.com/gpu"
spec-dirs = ["/var/run/cdi"]
"#;

/// The toolkit, until it goes out of scope.
pub struct Toolkit<'a> {
    node: &'a Node,
    folder: PathBuf,
}

impl<'a> Toolkit<'a> {
    /// Installs it, and has it describe the driver that is on the node now.
    pub fn install(node: &'a Node) -> Result<Self> {
        let runtime = PathBuf::from(nvidia_runtime());
        let in_node = runtime.parent().context("the handler's folder")?;
        let toolkit = Self { node, folder: node.cluster().host_path(in_node) };
        toolkit.lay(in_node)?;
        let class = json!({
            "apiVersion": "node.k8s.io/v1",
            "kind": "RuntimeClass",
            "metadata": { "name": CLASS, "labels": { MARK: "e2e" } },
            "handler": "nvidia",
        });
        node.kubectl.apply(&class.to_string())?;
        Ok(toolkit)
    }

    fn lay(&self, in_node: &Path) -> Result<()> {
        let built = fetch::built("toolkit");
        fs::create_dir_all(&self.folder).context("make the toolkit's folder")?;
        for (from, to) in [
            ("nvidia-ctk", "nvidia-ctk"),
            ("nvidia-cdi-hook", "nvidia-cdi-hook"),
            ("nvidia-container-runtime", "nvidia-container-runtime.real"),
        ] {
            fs::copy(built.join(from), self.folder.join(to)).with_context(|| format!("copy {from}"))?;
        }
        let at = in_node.display();
        fs::write(self.folder.join("config.toml"), CONFIG).context("write its config")?;
        // containerd hands no environment to a runtime.
        let wrapper = self.folder.join("nvidia-container-runtime");
        let script = format!(
            "#!/bin/sh\nNVIDIA_CTK_CONFIG_FILE_PATH={at}/config.toml exec {at}/nvidia-container-runtime.real \"$@\"\n"
        );
        fs::write(&wrapper, script).context("write its wrapper")?;
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).context("make it executable")?;

        let output = self
            .node
            .cluster()
            .enter(&format!("{at}/nvidia-ctk"))
            .args(["cdi", "generate", "--mode=nvml", &format!("--driver-root={}", simulation::ROOT)])
            .arg(format!("--nvidia-cdi-hook-path={at}/nvidia-cdi-hook"))
            .arg(format!("--output={SPEC}"))
            .env("NVML_SIM_DIR", simulation::STATE)
            .output()
            .context("start nvidia-ctk")?;
        ensure!(output.status.success(), "nvidia-ctk: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}

impl Drop for Toolkit<'_> {
    fn drop(&mut self) {
        let removed = self
            .node
            .kubectl
            .delete(&["runtimeclass", CLASS])
            .and_then(|()| fs::remove_file(self.node.cluster().host_path(SPEC)).context("its CDI spec"))
            .and_then(|()| fs::remove_dir_all(&self.folder).context("its folder"));
        if let Err(error) = removed {
            eprintln!("remove NVIDIA's container toolkit: {error:#}");
        }
    }
}
