//! The cluster's own cgroup: below it the kubelet keeps its pods, and nowhere else.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const MOUNT: &str = "/sys/fs/cgroup";

/// Makes the cgroup in every hierarchy.
pub(crate) fn create(name: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        let path = below(&hierarchy, name);
        fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        // A cgroup v1 cpuset is empty at first, and then holds no process.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if hierarchy.ends_with("cpuset") {
                let value =
                    fs::read_to_string(hierarchy.join(file)).with_context(|| format!("read {file}"))?;
                fs::write(path.join(file), value.trim()).with_context(|| format!("write {file}"))?;
            }
        }
    }
    Ok(())
}

/// Removes it, once its processes are gone.
pub(crate) fn remove(name: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        remove_tree(&below(&hierarchy, name))?;
    }
    Ok(())
}

/// The mounted hierarchies: each of cgroup v1 (the v2 one beside them has no controllers), or the one of v2.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let root = Path::new(MOUNT);
    if root.join("cgroup.controllers").exists() {
        return Ok(vec![root.to_path_buf()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(root).with_context(|| format!("read {MOUNT}"))? {
        let entry = entry.with_context(|| format!("read {MOUNT}"))?;
        // Links such as cpu -> cpu,cpuacct name a hierarchy a second time.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) && entry.path().join("cgroup.procs").exists() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn below(hierarchy: &Path, name: &str) -> PathBuf {
    hierarchy.join(name.trim_start_matches('/'))
}

/// A cgroup has no files of its own to delete: only its folders are removed, the deepest first.
fn remove_tree(path: &Path) -> Result<()> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| format!("read {}", path.display()))?,
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(path).with_context(|| format!("remove {}", path.display()))
}
