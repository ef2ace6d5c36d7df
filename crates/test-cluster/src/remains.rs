//! What a cluster leaves on the machine, and how it goes away: processes, cgroups, files.
//!
//! Needs no record of the run that left it, since that run may have died before it wrote one.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::cgroup;
use crate::layout::Layout;

/// Logs of the running cluster, or of the last one.
const LOGS: &str = "logs";

/// Logs of the cluster before that one.
const LOGS_BEFORE: &str = "logs.before";

/// What outlives a cluster: logs, to be read, and the lock, which the caller holds.
const KEPT: [&str; 3] = [LOGS, LOGS_BEFORE, "lock"];

/// Ends what an earlier run left, and removes the node's files.
pub(crate) fn clean(layout: &Layout) -> Result<()> {
    cgroup::end_processes(&layout.cgroup())?;
    cgroup::remove(&layout.cgroup())?;
    let node = layout.at("node");
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("read /proc/self/mountinfo")?;
    if mounts.contains(&*node.to_string_lossy()) {
        bail!("something is mounted below {}: unmount it first", node.display());
    }
    remove(&layout.at("state.json"))?;
    remove(&node)
}

/// Removes everything of the cluster that ended but what is [`KEPT`].
pub(crate) fn remove_files(layout: &Layout) -> Result<()> {
    let root = layout.root();
    for entry in fs::read_dir(&root).with_context(|| format!("read {}", root.display()))?.flatten() {
        if !KEPT.iter().any(|kept| entry.file_name() == *kept) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Sets the last cluster's logs aside: they tell why a component died.
pub(crate) fn keep_logs(layout: &Layout) -> Result<()> {
    let (logs, before) = (layout.at(LOGS), layout.at(LOGS_BEFORE));
    if !logs.exists() {
        return Ok(());
    }
    remove(&before)?;
    fs::rename(&logs, &before).with_context(|| format!("rename to {}", before.display()))
}

/// Removes a file or a folder with all that is in it.
fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(workspace: &Path, files: &[&str]) -> Layout {
        let layout = Layout::in_workspace(workspace, "x").unwrap();
        for file in files {
            let path = layout.at(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        layout
    }

    #[test]
    fn files_of_an_ended_cluster_go_and_its_logs_stay() {
        let workspace = tempfile::tempdir().unwrap();
        let files = [
            "pki/ca.key",
            "admin.kubeconfig",
            "bin/kubelet",
            "logs/kubelet.log",
            "logs.before/etcd.log",
            "lock",
        ];
        let layout = layout(workspace.path(), &files);
        remove_files(&layout).unwrap();
        remove_files(&layout).unwrap();
        let left: Vec<&str> = files.into_iter().filter(|file| layout.at(file).exists()).collect();
        assert_eq!(left, ["logs/kubelet.log", "logs.before/etcd.log", "lock"]);
    }

    #[test]
    fn logs_of_the_cluster_before_are_kept_once() {
        let workspace = tempfile::tempdir().unwrap();
        let layout = layout(workspace.path(), &["logs/kubelet.log", "logs.before/old.log"]);
        keep_logs(&layout).unwrap();
        assert!(layout.at("logs.before/kubelet.log").is_file());
        assert!(!layout.at("logs").exists() && !layout.at("logs.before/old.log").exists());
        keep_logs(&layout).unwrap();
        assert!(layout.at("logs.before/kubelet.log").is_file(), "no newer logs have come");
    }
}

/// These make namespaces and cgroups: `make e2e` runs them.
#[cfg(test)]
#[cfg(feature = "root")]
mod root_tests {
    use std::io::Read;
    use std::path::Path;

    use super::*;
    use crate::node::Node;

    fn booted(layout: &Layout) -> Node {
        cgroup::create(&layout.cgroup()).unwrap();
        Node::boot(layout).unwrap()
    }

    fn assert_nothing_is_left(layout: &Layout, nodes: &[&Node]) {
        for node in nodes {
            assert!(!node.init().lives(Path::new("/proc")), "{:?} lives", node.init());
        }
        assert_eq!(cgroup::processes(&layout.cgroup()).unwrap(), [].into());
        assert!(!cgroup::exists(&layout.cgroup()).unwrap());
        assert!(!layout.at("node").exists());
    }

    #[test]
    fn node_that_no_record_tells_of_is_ended_with_all_that_it_left() {
        let workspace = tempfile::tempdir().unwrap();
        let layout = Layout::in_workspace(workspace.path(), "left-behind").unwrap();
        let node = booted(&layout);
        // A program in the node that its first process did not start, as components are.
        let mut child = node
            .enter("sh")
            .args(["-c", "echo here; exec sleep infinity"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 4];
        child.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
        assert_eq!(&said, b"here");
        clean(&layout).unwrap();
        assert!(!child.wait().unwrap().success(), "it was killed with its node");
        assert_nothing_is_left(&layout, &[&node]);
        clean(&layout).unwrap();
        remove_files(&layout).unwrap();
        remove_files(&layout).unwrap();
    }

    #[test]
    fn node_that_is_booted_twice_is_ended_twice() {
        let workspace = tempfile::tempdir().unwrap();
        let layout = Layout::in_workspace(workspace.path(), "twice").unwrap();
        let (first, second) = (booted(&layout), booted(&layout));
        assert_ne!(first.init(), second.init());
        clean(&layout).unwrap();
        assert_nothing_is_left(&layout, &[&first, &second]);
    }

    #[test]
    fn node_that_cannot_be_made_leaves_no_process() {
        let workspace = tempfile::tempdir().unwrap();
        let layout = Layout::in_workspace(workspace.path(), "broken").unwrap();
        cgroup::create(&layout.cgroup()).unwrap();
        // The place where the kernel's settings are to be copied is a file.
        fs::create_dir_all(layout.at("node")).unwrap();
        fs::write(layout.at("node/sysctl"), "").unwrap();
        let error = Node::boot(&layout).unwrap_err().to_string();
        assert!(error.contains("could not be made"), "{error}");
        clean(&layout).unwrap();
        assert!(!cgroup::exists(&layout.cgroup()).unwrap());
    }
}
