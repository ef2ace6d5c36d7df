//! The cluster's own cgroup: it holds every process of the cluster, and below it the kubelet keeps its pods.
//!
//! So it tells what an earlier run left, whatever became of that run's records.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::poll::{Verdict, until};
use crate::process::ProcessId;

const MOUNT: &str = "/sys/fs/cgroup";

/// The list of a cgroup's processes, and the file by which a process joins it.
const PROCESSES: &str = "cgroup.procs";

/// Where the node's and the components' processes are: a leaf, since a cgroup of v2 that hands controllers to its
/// children holds no processes itself.
const LEAF: &str = "node";

/// Makes the cgroup in every hierarchy.
pub(crate) fn create(name: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        let cluster = below(&hierarchy, name);
        let leaf = cluster.join(LEAF);
        for (parent, path) in [(&hierarchy, &cluster), (&cluster, &leaf)] {
            fs::create_dir_all(path).with_context(|| format!("create {}", path.display()))?;
            // A cgroup v1 cpuset is empty at first, and then holds no process.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if hierarchy.ends_with("cpuset") {
                    let value =
                        fs::read_to_string(parent.join(file)).with_context(|| format!("read {file}"))?;
                    fs::write(path.join(file), value.trim()).with_context(|| format!("write {file}"))?;
                }
            }
        }
    }
    Ok(())
}

/// Lines by which a shell joins the cgroup, with all that it starts from then on.
pub(crate) fn join(name: &str) -> Result<String> {
    let mut script = String::new();
    for hierarchy in hierarchies()? {
        // The kernel takes 0 as the process that writes.
        writeln!(script, "echo 0 >'{}'", below(&hierarchy, name).join(LEAF).join(PROCESSES).display())?;
    }
    Ok(script)
}

/// Kills what is in the cgroup until nothing is.
pub(crate) fn end_processes(name: &str) -> Result<()> {
    let proc = Path::new("/proc");
    let mut dying: BTreeSet<ProcessId> = BTreeSet::new();
    until("the end of the cluster's processes", Duration::from_secs(60), || {
        let found: BTreeSet<ProcessId> =
            processes(name)?.into_iter().filter_map(|pid| ProcessId::find(proc, pid)).collect();
        for process in &found {
            if let Some(pid) = Pid::from_raw(process.pid.cast_signed()) {
                // It may be gone by now, which is what is wanted.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        // A process-id namespace's first process leaves its cgroup early, and is gone only after all others are.
        dying.extend(&found);
        dying.retain(|process| process.lives(proc));
        if found.is_empty() && dying.is_empty() {
            return Ok(Verdict::Done(()));
        }
        let names: Vec<String> = dying.iter().map(|process| named(process.pid)).collect();
        Ok(Verdict::Waiting(names.join(", ")))
    })
}

/// Removes it, once its processes are gone.
pub(crate) fn remove(name: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        remove_tree(&below(&hierarchy, name))?;
    }
    Ok(())
}

/// The processes in it and below it, by their ids on the host.
pub(crate) fn processes(name: &str) -> Result<BTreeSet<u32>> {
    let mut found = BTreeSet::new();
    for hierarchy in hierarchies()? {
        collect_processes(&below(&hierarchy, name), &mut found);
    }
    Ok(found)
}

/// True while it is there in any hierarchy.
#[cfg(all(test, feature = "root"))]
pub(crate) fn exists(name: &str) -> Result<bool> {
    Ok(hierarchies()?.iter().any(|hierarchy| below(hierarchy, name).exists()))
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
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) && entry.path().join(PROCESSES).exists() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn below(hierarchy: &Path, name: &str) -> PathBuf {
    hierarchy.join(name.trim_start_matches('/'))
}

/// A cgroup that goes away meanwhile has no processes.
fn collect_processes(path: &Path, found: &mut BTreeSet<u32>) {
    found.extend(listed(path));
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect_processes(&entry.path(), found);
        }
    }
}

fn listed(cgroup: &Path) -> Vec<u32> {
    let text = fs::read_to_string(cgroup.join(PROCESSES)).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
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
    fs::remove_dir(path).with_context(|| {
        let held_by: Vec<String> = listed(path).into_iter().map(named).collect();
        let held_by = if held_by.is_empty() { "no process".to_owned() } else { held_by.join(", ") };
        format!("remove {} (in it: {held_by})", path.display())
    })
}

/// A process as a person knows it: its id and its program's name.
fn named(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("{pid} {}", name.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroup_that_cannot_be_removed_names_the_processes_in_it() {
        // A folder with a file in it resists removal as a cgroup with a process does.
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(PROCESSES), format!("{}\n", std::process::id())).unwrap();
        let error = format!("{:#}", remove_tree(folder.path()).unwrap_err());
        let name = named(std::process::id());
        assert!(error.contains(&format!("(in it: {name})")), "{error}");
    }

    #[test]
    fn processes_of_a_tree_of_cgroups_are_found_at_every_depth() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("kubepods/pod1");
        fs::create_dir_all(&deep).unwrap();
        fs::write(folder.path().join(PROCESSES), "7\n").unwrap();
        fs::write(deep.join(PROCESSES), "8\n9\n").unwrap();
        let mut found = BTreeSet::new();
        collect_processes(folder.path(), &mut found);
        assert_eq!(found, [7, 8, 9].into());
    }
}
