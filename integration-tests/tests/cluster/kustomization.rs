//! A kustomization of one's own, as a person writes it: an overlay as shipped, with components and a patch.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use crate::node::{Node, workspace};

/// Its folder, until it goes out of scope.
pub struct Kustomization(PathBuf);

impl Kustomization {
    /// Writes it to a folder of this name below target, since kustomize takes relative paths alone.
    pub fn write(name: &str, overlay: &str, components: &[&str], patch: Option<&str>) -> Result<Self> {
        let folder = workspace().join("target").join(name);
        fs::create_dir_all(&folder)?;
        let written = Self(folder);
        let components: Vec<String> =
            components.iter().map(|name| format!("../../manifests/components/{name}")).collect();
        let kustomization = json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [format!("../../{overlay}")],
            "components": components,
            "patches": patch.map(|patch| json!({ "patch": patch })).into_iter().collect::<Vec<_>>(),
        });
        fs::write(written.0.join("kustomization.yaml"), kustomization.to_string())?;
        Ok(written)
    }

    /// Applies it.
    pub fn apply(&self, node: &Node) -> Result<()> {
        node.kubectl.run(&["apply", "--kustomize", &self.0.to_string_lossy()]).map(drop)
    }
}

impl Drop for Kustomization {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
