//! Rules over `Cargo.toml` files: what a crate inherits from the workspace, and what the workspace offers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use toml::Value;

use super::Problem;
use super::sources::empty_name;

/// The parts of a crate's manifest that rules speak of.
pub struct Manifest {
    /// File, relative to the repository.
    pub path: PathBuf,
    /// Package name.
    pub name: String,
    /// Every dependency, for any platform.
    pub dependencies: Vec<Dependency>,
    inherits_lints: bool,
}

/// One line of a crate's dependencies.
pub struct Dependency {
    /// The name under which the crate uses it, which is its own name: the workspace renames none.
    pub name: String,
    /// What it is for.
    pub kind: Kind,
    value: Value,
}

/// What a dependency is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Linked into the crate.
    Normal,
    /// For the crate's tests.
    Development,
    /// For its build script.
    Build,
}

/// The three tables, which stand at the top of a manifest and again below each platform.
#[derive(Default, Deserialize)]
struct Tables {
    #[serde(default)]
    dependencies: BTreeMap<String, Value>,
    #[serde(default, rename = "dev-dependencies")]
    dev_dependencies: BTreeMap<String, Value>,
    #[serde(default, rename = "build-dependencies")]
    build_dependencies: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Raw {
    package: RawPackage,
    #[serde(default)]
    lints: BTreeMap<String, Value>,
    #[serde(flatten)]
    everywhere: Tables,
    #[serde(default)]
    target: BTreeMap<String, Tables>,
}

#[derive(Deserialize)]
struct RawPackage {
    name: String,
}

#[derive(Deserialize)]
struct Root {
    workspace: Workspace,
}

#[derive(Deserialize)]
struct Workspace {
    #[serde(default)]
    dependencies: BTreeMap<String, Value>,
}

impl Manifest {
    /// Reads a crate's manifest.
    pub fn parse(path: &Path, text: &str) -> Result<Manifest> {
        let raw: Raw =
            toml::from_str(text).with_context(|| format!("{} is no crate's manifest", path.display()))?;
        let tables = std::iter::once(raw.everywhere).chain(raw.target.into_values());
        Ok(Manifest {
            path: path.to_owned(),
            name: raw.package.name,
            dependencies: tables.flat_map(Tables::flatten).collect(),
            inherits_lints: raw.lints.get("workspace").and_then(Value::as_bool) == Some(true),
        })
    }
}

#[cfg(test)]
impl Dependency {
    /// One as the workspace names it.
    pub fn new(name: &str, kind: Kind) -> Self {
        Dependency { name: name.to_owned(), kind, value: Value::Boolean(true) }
    }
}

impl Tables {
    fn flatten(self) -> impl Iterator<Item = Dependency> {
        let tables = [
            (Kind::Normal, self.dependencies),
            (Kind::Development, self.dev_dependencies),
            (Kind::Build, self.build_dependencies),
        ];
        tables.into_iter().flat_map(|(kind, table)| {
            table.into_iter().map(move |(name, value)| Dependency { name, kind, value })
        })
    }
}

/// Checks that a crate takes lints, versions and features from the workspace.
pub fn check(manifest: &Manifest) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(empty_name(&manifest.name).map(|message| Problem::new(&manifest.path, 0, message)));
    if !manifest.inherits_lints {
        problems.push(Problem::new(&manifest.path, 0, "add `[lints] workspace = true`"));
    }
    for Dependency { name, value, .. } in &manifest.dependencies {
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

/// Checks the workspace's own manifest: no dependency that nobody uses, none under another name than its own, since
/// the other rules know crates by name. Crates of the workspace may be there for others to come.
pub fn check_workspace(path: &Path, text: &str, crates: &[Manifest]) -> Result<Vec<Problem>> {
    let root: Root =
        toml::from_str(text).with_context(|| format!("{} is no workspace's manifest", path.display()))?;
    let used: BTreeSet<&str> =
        crates.iter().flat_map(|manifest| &manifest.dependencies).map(|used| used.name.as_str()).collect();
    let mut problems = Vec::new();
    for (name, value) in &root.workspace.dependencies {
        let has = |key: &str| value.as_table().is_some_and(|entry| entry.contains_key(key));
        if has("package") {
            problems.push(Problem::new(path, 0, format!("dependency {name}: use the package's own name")));
        }
        if !used.contains(name.as_str()) && !has("path") {
            problems.push(Problem::new(path, 0, format!("dependency {name}: no crate uses it")));
        }
    }
    Ok(problems)
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
    fn package_name_that_says_nothing_is_found_whatever_its_folder() {
        assert!(messages("[package]\nname = 'common'\n[lints]\nworkspace = true\n")[0].contains("the name"));
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
        for table in ["build-dependencies", "target.'cfg(unix)'.dependencies"] {
            assert!(
                messages(&format!(
                    "{head}[{table}]\nserde = {{ workspace = true, default-features = false }}\n"
                ))[0]
                    .contains("set its features in the workspace"),
                "{table}"
            );
        }
    }

    #[test]
    fn workspace_dependency_that_is_unused_or_renamed_is_found() {
        let user = "[package]\nname = 'a'\n[target.'cfg(unix)'.dependencies]\nserde.workspace = true\n";
        let user = Manifest::parse(Path::new("crates/a/Cargo.toml"), user).unwrap();
        let text = "[workspace.dependencies]\nserde = '1'\na = { path = 'crates/a' }\n";
        let check = |text: &str| check_workspace(Path::new("Cargo.toml"), text, std::slice::from_ref(&user));
        assert_eq!(check(text).unwrap(), []);
        let found = check(&format!("{text}tokio = '1'\n")).unwrap();
        assert_eq!(found, [Problem::new(Path::new("Cargo.toml"), 0, "dependency tokio: no crate uses it")]);
        let renamed = text.replace("serde = '1'", "serde = { version = '1', package = 'kube' }");
        assert!(check(&renamed).unwrap()[0].message.contains("the package's own name"));
    }

    #[test]
    fn manifest_that_is_no_toml_names_the_file() {
        let error = Manifest::parse(Path::new("crates/a/Cargo.toml"), "[package").err().unwrap();
        assert_eq!(error.to_string(), "crates/a/Cargo.toml is no crate's manifest");
    }
}
