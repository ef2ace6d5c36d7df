//! Rules over a crate's `Cargo.toml`: what it inherits from the workspace.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use toml::Value;

use super::Problem;

/// The parts of a crate's manifest that rules speak of.
pub struct Manifest {
    /// File, relative to the repository.
    pub path: PathBuf,
    /// Package name.
    pub name: String,
    /// Normal dependencies, by the name under which the crate uses them.
    pub dependencies: BTreeMap<String, Value>,
    /// Development and build dependencies.
    pub other_dependencies: BTreeMap<String, Value>,
    inherits_lints: bool,
}

#[derive(Deserialize)]
struct Raw {
    package: RawPackage,
    #[serde(default)]
    lints: BTreeMap<String, Value>,
    #[serde(default)]
    dependencies: BTreeMap<String, Value>,
    #[serde(default, rename = "dev-dependencies")]
    dev_dependencies: BTreeMap<String, Value>,
    #[serde(default, rename = "build-dependencies")]
    build_dependencies: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct RawPackage {
    name: String,
}

impl Manifest {
    /// Reads a crate's manifest.
    pub fn parse(path: &Path, text: &str) -> Result<Manifest> {
        let raw: Raw =
            toml::from_str(text).with_context(|| format!("{} is no crate's manifest", path.display()))?;
        let mut other_dependencies = raw.dev_dependencies;
        other_dependencies.extend(raw.build_dependencies);
        Ok(Manifest {
            path: path.to_owned(),
            name: raw.package.name,
            dependencies: raw.dependencies,
            other_dependencies,
            inherits_lints: raw.lints.get("workspace").and_then(Value::as_bool) == Some(true),
        })
    }
}

/// Checks that a crate takes lints, versions and features from the workspace.
pub fn check(manifest: &Manifest) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !manifest.inherits_lints {
        problems.push(Problem::new(&manifest.path, 0, "add `[lints] workspace = true`"));
    }
    for (name, value) in manifest.dependencies.iter().chain(&manifest.other_dependencies) {
        let entry = value.as_table();
        let inherited = entry.and_then(|entry| entry.get("workspace")).and_then(Value::as_bool) == Some(true);
        if !inherited {
            problems.push(Problem::new(
                &manifest.path,
                0,
                format!(
                    "dependency {name}: set its version in the workspace and write `{name}.workspace = true`"
                ),
            ));
        }
        if entry.is_some_and(|entry| entry.contains_key("features") || entry.contains_key("default-features"))
        {
            problems.push(Problem::new(&manifest.path, 0, format!("dependency {name}: set its features in the workspace, so that -p and --workspace build the same")));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(text: &str) -> Vec<String> {
        let manifest = Manifest::parse(Path::new("crates/a/Cargo.toml"), text).unwrap();
        check(&manifest).into_iter().map(|problem| problem.message).collect()
    }

    #[test]
    fn manifest_that_inherits_everything_passes() {
        assert_eq!(
            messages(
                "[package]\nname = 'a'\n[lints]\nworkspace = true\n[dependencies]\nserde.workspace = true\n"
            ),
            Vec::<String>::new()
        );
    }

    #[test]
    fn manifest_with_its_own_lints_is_found() {
        assert_eq!(messages("[package]\nname = 'a'\n"), ["add `[lints] workspace = true`"]);
    }

    #[test]
    fn manifest_with_its_own_version_or_features_is_found() {
        let head = "[package]\nname = 'a'\n[lints]\nworkspace = true\n";
        assert!(
            messages(&format!("{head}[dependencies]\nserde = '1'\n"))[0]
                .contains("set its version in the workspace")
        );
        assert!(
            messages(&format!(
                "{head}[dev-dependencies]\nserde = {{ workspace = true, features = ['rc'] }}\n"
            ))[0]
                .contains("set its features in the workspace")
        );
    }

    #[test]
    fn manifest_that_is_no_toml_names_the_file() {
        let error = Manifest::parse(Path::new("crates/a/Cargo.toml"), "[package").err().unwrap();
        assert_eq!(error.to_string(), "crates/a/Cargo.toml is no crate's manifest");
    }
}
