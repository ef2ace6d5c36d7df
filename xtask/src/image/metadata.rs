//! What cargo knows of the workspace: where it builds, and which crates go into a program.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::root;

/// The parts of `cargo metadata` that matter here.
#[derive(Deserialize)]
pub struct Metadata {
    /// Where cargo builds.
    pub target_directory: PathBuf,
    packages: Vec<Package>,
    resolve: Resolve,
}

/// A crate.
#[derive(Deserialize)]
pub struct Package {
    id: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licence expression, when it states one.
    pub license: Option<String>,
    /// Its Cargo.toml.
    pub manifest_path: PathBuf,
    /// Absent for crates of this workspace.
    source: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    /// None for what is linked; `build` and `dev` otherwise.
    kind: Option<String>,
}

/// What images are built for: the glibc of this machine. Crates for other platforms are in none.
fn platform() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

impl Metadata {
    /// Asks cargo.
    pub fn read() -> Result<Self> {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version=1", "--locked", "--filter-platform", &platform()])
            .current_dir(root())
            .output()
            .context("start cargo metadata")?;
        if !output.status.success() {
            bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        serde_json::from_slice(&output.stdout).context("parse the answer of cargo metadata")
    }

    /// The crates of others that are linked into a package's program, by name and version.
    pub fn linked_into(&self, package: &str) -> Vec<&Package> {
        let nodes: BTreeMap<&str, &Node> = self.resolve.nodes.iter().map(|node| (&*node.id, node)).collect();
        let root =
            self.packages.iter().find(|candidate| candidate.name == package && candidate.source.is_none());
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut open: Vec<&str> = root.map(|package| &*package.id).into_iter().collect();
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            let Some(node) = nodes.get(id) else { continue };
            let linked = |dep: &&Dependency| dep.dep_kinds.iter().any(|kind| kind.kind.is_none());
            open.extend(node.deps.iter().filter(linked).map(|dep| &*dep.pkg));
        }
        let mut packages: Vec<&Package> = self
            .packages
            .iter()
            .filter(|package| package.source.is_some() && seen.contains(&*package.id))
            .collect();
        packages.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
        packages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_in_the_plugins_program_are_those_for_this_platform_alone() {
        let metadata = Metadata::read().unwrap();
        let linked = metadata.linked_into("gpu-device-plugin");
        let names: Vec<&str> = linked.iter().map(|package| &*package.name).collect();
        assert!(names.contains(&"tokio"), "{names:?}");
        let foreign: Vec<_> = names.iter().filter(|name| name.starts_with("windows")).collect();
        assert!(foreign.is_empty(), "{foreign:?}");
    }
}
