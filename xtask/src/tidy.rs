//! `cargo xtask tidy`: the workspace's invariants, checked. ARCHITECTURE.md gives their reasons.
//!
//! Each rule is a pure function over texts or manifests, with tests that show it failing. This module
//! only gathers the files and prints what the rules found.

mod documents;
mod faults;
mod floors;
mod manifests;
mod releases;
mod sources;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use manifests::Manifest;

/// One broken rule, told so that a person can mend it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Problem {
    /// File, relative to the repository.
    path: PathBuf,
    /// Line, counted from 1; 0 where the whole file is meant.
    line: usize,
    /// What is wrong, and what would be right.
    message: String,
}

impl Problem {
    fn new(path: &Path, line: usize, message: impl Into<String>) -> Self {
        Problem { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.message)
    }
}

/// Checks the repository at `root` and fails with every problem found.
pub fn run(root: &Path) -> Result<()> {
    let Found { problems, files, crates } = find(root)?;
    for problem in &problems {
        crate::say(problem);
    }
    match problems.len() {
        0 => {
            crate::say(format!("tidy: {files} files, {crates} crates, no problem"));
            Ok(())
        }
        count => bail!("tidy: {count} problems"),
    }
}

/// What was looked at, and what is wrong with it.
#[derive(Debug)]
struct Found {
    problems: Vec<Problem>,
    files: usize,
    crates: usize,
}

fn find(root: &Path) -> Result<Found> {
    let mut problems = Vec::new();
    let mut manifests = Vec::new();
    let mut documents = BTreeMap::new();
    let mut row_tests = Vec::new();
    let files = tracked_files(root)?;
    for path in &files {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        problems.extend(sources::check_path(path));
        if name.ends_with(".rs") {
            let text = read(root, path)?;
            problems.extend(sources::check_text(path, &text));
            row_tests.extend(faults::tests_in(path, &text));
        } else if name == "Cargo.toml" && path.components().count() > 1 {
            manifests.push(Manifest::parse(path, &read(root, path)?)?);
        } else if name.ends_with(".md") {
            documents.insert(path.clone(), read(root, path)?);
        }
    }
    problems.extend(documents::check(&documents, &files));
    let matrix = documents.get(Path::new(faults::MATRIX));
    if matrix.is_some() || !row_tests.is_empty() {
        problems.extend(faults::check(matrix.map_or("", String::as_str), &row_tests));
    }
    for manifest in &manifests {
        problems.extend(manifests::check(manifest));
        problems.extend(floors::check(manifest));
    }
    ensure!(!manifests.is_empty(), "no crate found below {}: is this the repository's root?", root.display());
    let workspace = Path::new("Cargo.toml");
    problems.extend(manifests::check_workspace(workspace, &read(root, workspace)?, &manifests)?);
    let [cluster, comparison, protocols] = [releases::CLUSTER, releases::COMPARISON, releases::PROTOCOLS]
        .map(|path| read(root, Path::new(path)));
    problems.extend(releases::check(&cluster?, &comparison?, &protocols?));
    problems.sort();
    Ok(Found { problems, files: files.len(), crates: manifests.len() })
}

fn read(root: &Path, path: &Path) -> Result<String> {
    std::fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {}", path.display()))
}

/// Files that git tracks or would track, so that build outputs and caches never count.
fn tracked_files(root: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(root)
        .output()
        .context("cannot run git")?;
    ensure!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim());
    let listing = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    Ok(listing
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(PathBuf::from)
        .filter(|path| root.join(path).is_file())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tidy_on_this_repository_finds_no_problem() {
        run(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))).unwrap();
    }

    /// A repository with these files, and those that every repository has.
    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let always = [
            ("Cargo.toml", "[workspace]\n"),
            (releases::CLUSTER, "k8s.io/kubernetes v1.37.2\n"),
            (releases::COMPARISON, "k8s.io/kubelet v0.37.2\n"),
            (releases::PROTOCOLS, "**Kubernetes 1.37** (`k8s.io/kubelet` v0.37.2)\n"),
        ];
        for (path, text) in always.iter().chain(files) {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        assert!(Command::new("git").arg("init").arg("-q").arg(root.path()).status().unwrap().success());
        root
    }

    #[test]
    fn tidy_on_a_tree_with_problems_names_file_and_line() {
        let root = tree(&[
            ("crates/gpu-model/Cargo.toml", "[package]\nname = \"gpu-model\"\n"),
            ("crates/gpu-model/src/lib.rs", "//! Vocabulary.\n\nuse std::fs;\n"),
        ]);
        let found = find(root.path()).unwrap();
        let told: Vec<String> = found.problems.iter().map(Problem::to_string).collect();
        assert_eq!(
            told,
            [
                "crates/gpu-model/Cargo.toml:0: add `[lints] workspace = true`",
                "crates/gpu-model/src/lib.rs:3: floor 0 does no I/O: std::fs",
            ]
        );
        assert_eq!(run(root.path()).unwrap_err().to_string(), "tidy: 2 problems");
    }

    #[test]
    fn tidy_on_a_tree_without_a_crate_is_an_error() {
        let error = find(tree(&[]).path()).unwrap_err().to_string();
        assert!(error.starts_with("no crate found below"), "{error}");
    }
}
