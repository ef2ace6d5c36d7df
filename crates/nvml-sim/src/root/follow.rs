//! Host roots that follow their node: which roots were laid for a state folder, and bringing them in step with its MIG
//! instances, its GPUs, its boots and its driver's version. It knows which files of a root these are, not what changed the node.
//!
//! Before a change becomes the current state, a mark says that the roots are behind; it goes when all of them are in step.
//! So a process that is killed in between leaves the mark, and whoever next looks at the node and may write does the rest.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::plan::Plan;
use super::{LIBRARY_DIR, NODE_LINK, RootError, device_nodes, proc_files, record, sysfs};
use crate::files::{read_paths, remove_if_there, write_paths};
use crate::node::Node;
use crate::state::State;

/// In the state folder: the roots, one path a line, seen from there.
const ROOTS: &str = "roots";
/// In the state folder while a root may be behind.
const MARK: &str = "roots.behind";

/// Writes down that a root was laid for a state folder.
pub fn remember(dir: &Path, root: &Path) -> io::Result<()> {
    let list = dir.join(ROOTS);
    let mut roots = read_paths(&list)?;
    if roots.insert(way_to(dir, root)?) { write_paths(&list, &roots) } else { Ok(()) }
}

/// The way from a state folder to a root: relative where the folder lies in the root, which may be mounted elsewhere.
fn way_to(dir: &Path, root: &Path) -> io::Result<PathBuf> {
    let (dir, root) = (dir.canonicalize()?, root.canonicalize()?);
    Ok(match dir.strip_prefix(&root) {
        Ok(below) => below.components().map(|_| Component::ParentDir).collect(),
        Err(_) => root,
    })
}

/// Whether roots of the state folder may be behind its state.
pub fn are_behind(dir: &Path) -> bool {
    dir.join(MARK).exists()
}

/// Marks the roots as behind, if a change that is about to be made means something to them. Whether they are.
pub fn mark(dir: &Path, before: &State, after: &State) -> bool {
    let matters = before.mig.gpus != after.mig.gpus
        || before.driver.version != after.driver.version
        || before.drains.removed != after.drains.removed
        || before.reboots != after.reboots;
    if !matters || !dir.join(ROOTS).exists() {
        return are_behind(dir);
    }
    // A change must not fail by it: without the mark, the roots follow all the same unless this process is killed.
    let _ = fs::write(dir.join(MARK), b"");
    true
}

/// Brings all roots of a state folder in step with its node. Those that could be are, whatever is wrong with others: the
/// mark then stays.
pub fn follow(dir: &Path, node: &Node, state: &State) -> Result<(), RootError> {
    let failed = |action, path: PathBuf| move |source| RootError::Io { action, path, source };
    let list = dir.join(ROOTS);
    let mut roots = read_paths(&list).map_err(failed("read", list.clone()))?;
    let (mut wrong, mut others) = (None, BTreeSet::new());
    for way in &roots {
        let root = dir.join(way);
        match belongs_to(&root, dir) {
            Ok(true) => wrong = wrong.or(bring_in_step(&root, node, state).err()),
            Ok(false) => {
                others.insert(way.clone());
            }
            Err(source) => {
                wrong = wrong.or(Some(RootError::Unreachable { root, list: list.clone(), source }));
            }
        }
    }
    if !others.is_empty() {
        roots.retain(|way| !others.contains(way));
        write_paths(&list, &roots).map_err(failed("write", list))?;
    }
    match wrong {
        Some(wrong) => Err(wrong),
        None => {
            let mark = dir.join(MARK);
            remove_if_there(&mark).map_err(failed("remove", mark))
        }
    }
}

/// Whether a root is still that of a state folder: it may have been laid for another since. Without our record in it, what is
/// seen there is not the whole root, as from within a container.
fn belongs_to(root: &Path, dir: &Path) -> io::Result<bool> {
    let place = |path: &Path| fs::metadata(path).map(|folder| (folder.dev(), folder.ino()));
    let is_own = place(&root.join(LIBRARY_DIR).join(NODE_LINK))? == place(dir)?;
    if is_own && !record::is_there(root) {
        return Err(ErrorKind::NotFound.into());
    }
    Ok(is_own)
}

fn bring_in_step(root: &Path, node: &Node, state: &State) -> Result<(), RootError> {
    let mut plan = Plan::new(root);
    proc_files::plan_version(&mut plan, node);
    proc_files::plan_boot(&mut plan, node, state);
    proc_files::plan_gpus(&mut plan, node, state);
    sysfs::plan_pci(&mut plan, node, state);
    proc_files::plan_capabilities(&mut plan, node, state);
    device_nodes::plan_capabilities(&mut plan, node, state);
    plan.change(is_following)
}

/// The files of a root that follow.
fn is_following(path: &Path) -> bool {
    [proc_files::VERSION, proc_files::BOOT_ID].map(Path::new).contains(&path)
        || path.starts_with(proc_files::GPUS)
        || path.starts_with(sysfs::PCI)
        || path.starts_with(proc_files::CAPABILITIES)
        || path.starts_with(device_nodes::CAPABILITIES)
}
