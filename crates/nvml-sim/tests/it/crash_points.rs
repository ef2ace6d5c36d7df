//! Commands that are killed, or whose calls fail, before each system call that changes something. What they leave is whole,
//! the next command goes on from it, and nothing piles up.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::libc;
use nvml_sim::{State, StateFolder, StateFolderError, presets};

use crate::following_roots::look_until_in_step;
use crate::sim::{nvml_sim, said};
use crate::tracer::{Call, Fate, trace};

/// A node to begin with, and a command on it.
struct Scene {
    words: &'static [&'static str],
    begin: fn(&Path),
}

fn yaml() -> &'static str {
    presets::find(presets::NODES, "t4").unwrap().yaml
}

/// A node whose clock stands, so that the same command leaves the same state.
fn node(dir: &Path) -> StateFolder {
    let folder = StateFolder::create(dir, Path::new("t4"), yaml()).unwrap();
    folder.freeze_clock().unwrap();
    folder
}

const ALL: [Fate; 3] = [Fate::Kill, Fate::Tear, Fate::Fail];

const XID: &[&str] = &["xid", "--gpu", "0", "48"];

const SCENES: &[Scene] = &[
    Scene { words: XID, begin: |dir| drop(node(dir)) },
    Scene { words: &["set", "--gpu", "0", "temperature=91"], begin: |dir| drop(node(dir)) },
    // Former generations go.
    Scene {
        words: &["lose", "--gpu", "0", "--xid"],
        begin: |dir| {
            let folder = node(dir);
            (1..12).for_each(|xid| folder.inject_xid("0", xid, None, None).unwrap());
        },
    },
    // Another writer was killed before.
    Scene {
        words: XID,
        begin: |dir| {
            node(dir).inject_xid("0", 79, None, None).unwrap();
            let log = fs::read(dir.join("kmsg")).unwrap();
            fs::write(dir.join("kmsg"), &log[..log.len() / 2]).unwrap();
            symlink("0@0", dir.join("kmsg.behind")).unwrap();
            symlink("nowhere", dir.join("state.next")).unwrap();
        },
    },
    Scene { words: &["init", "--preset", "t4"], begin: |_| {} },
    // A node was there before, whose node file is gone.
    Scene {
        words: &["init", "--preset", "t4"],
        begin: |dir| {
            node(dir).inject_xid("0", 79, None, None).unwrap();
            fs::remove_file(dir.join("node.yaml")).unwrap();
        },
    },
];

/// A folder in memory, where the machine has such: a disk takes its time for each of the many syncs, and who is killed
/// leaves the same on both.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// A fresh node of a scene.
fn stage(scene: &Scene) -> (tempfile::TempDir, PathBuf) {
    let dir = scratch();
    let node = dir.path().join("node");
    (scene.begin)(&node);
    (dir, node)
}

/// The node in a folder, if it is one.
fn open(dir: &Path) -> Option<StateFolder> {
    match StateFolder::open(dir) {
        Err(StateFolderError::Missing { .. }) => None,
        folder => Some(folder.unwrap()),
    }
}

/// The state, if there is a node.
fn state(dir: &Path) -> Option<Arc<State>> {
    open(dir).map(|folder| folder.state().unwrap())
}

/// What a state tells, but for times.
fn gist(state: Option<&State>) -> Option<(u64, Vec<u64>, String)> {
    let state = state?;
    let xids = state.events.records.iter().map(|event| event.data).collect();
    Some((state.generation, xids, format!("{:?} {:?} {:?}", state.lost, state.overrides, state.modes)))
}

/// The next commands go on, the kernel's log is complete, and there is no file that the folder does not need.
fn goes_on(dir: &Path, at: &str) {
    let create = || StateFolder::create(dir, Path::new("t4"), yaml()).unwrap();
    let folder = open(dir).unwrap_or_else(create);
    let before = folder.state().unwrap();
    folder.inject_xid("0", 31, None, None).unwrap();
    let after = folder.state().unwrap();
    assert_eq!(
        (after.generation, after.events.last),
        (before.generation + 1, before.events.last + 1),
        "{at}"
    );
    let log = fs::read_to_string(dir.join("kmsg")).unwrap();
    let numbers: Vec<u64> =
        log.lines().map(|line| line.split(',').nth(1).unwrap().parse().unwrap()).collect();
    assert_eq!(numbers, (1..=after.events.last).collect::<Vec<_>>(), "{at}: {log}");
    let link = fs::read_link(dir.join("state")).unwrap();
    let node = link.to_str().unwrap().rsplitn(3, '.').nth(2).unwrap().to_owned();
    let mut wanted: Vec<String> = ["kmsg", "lock", "node.yaml", "state"].map(str::to_owned).to_vec();
    let kept = after.generation.saturating_sub(7)..=after.generation;
    wanted.extend(kept.map(|number| format!("{node}.{number}.json")));
    wanted.sort();
    assert_eq!(tree(dir).keys().map(|path| path.display().to_string()).collect::<Vec<_>>(), wanted, "{at}");
}

/// What lies below a folder: files with content and mode, links with their text.
fn tree(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let kind = path.symlink_metadata().unwrap();
            let what = if kind.is_symlink() {
                format!("-> {}", fs::read_link(&path).unwrap().display())
            } else if kind.is_dir() {
                folders.push(path.clone());
                "a folder".to_owned()
            } else if kind.is_file() {
                format!("{:o} {}", kind.mode(), String::from_utf8_lossy(&fs::read(&path).unwrap()))
            } else {
                format!("{:o} {:x}", kind.mode(), kind.rdev())
            };
            found.insert(path.strip_prefix(dir).unwrap().to_owned(), what);
        }
    }
    found
}

/// A copy of a state folder.
fn copy(from: &Path) -> (tempfile::TempDir, PathBuf) {
    let dir = scratch();
    let node = dir.path().join("node");
    copy_tree(from, &node);
    (dir, node)
}

/// Runs a command once for each call at which it can meet one of these fates, and counts the runs.
fn each_end<R>(
    fates: &[Fate],
    begin: impl Fn() -> (R, PathBuf),
    words: &[impl AsRef<std::ffi::OsStr>],
    mut check: impl FnMut(&Path, Option<bool>, &str),
) -> usize {
    let mut ends = 0;
    for fate in fates.iter().copied() {
        for point in 0.. {
            let (_kept, dir) = begin();
            let (mut calls, mut met) = (0, None);
            let ended = trace(&dir, words, |call| {
                calls += 1;
                let can_be = fate != Fate::Tear || call.is_long_write();
                if calls == point + 1 && can_be {
                    met = Some(*call);
                    fate
                } else {
                    Fate::GoOn
                }
            });
            if calls <= point {
                break;
            }
            let Some(call) = met else { continue };
            ends += 1;
            let at = format!("{fate:?} at change {point}, {call:?}");
            assert_eq!(ended.is_none(), fate != Fate::Fail, "{at}");
            check(&dir, ended.map(|output| output.status.success()), &at);
        }
    }
    ends
}

#[test]
fn command_that_ends_at_any_call_leaves_the_old_state_or_the_new() {
    for scene in SCENES {
        let (_first, first) = stage(scene);
        let (_dir, dir) = copy(&first);
        let old = state(&dir);
        said(&trace(&dir, scene.words, |_| Fate::GoOn).unwrap());
        let new = state(&dir);
        let (old, new) = (gist(old.as_deref()), gist(new.as_deref()));
        assert_ne!(old, new, "{:?}", scene.words);
        let ends = each_end(
            &ALL,
            || copy(&first),
            scene.words,
            |dir, succeeded, at| {
                let at = format!("{:?}: {at}", scene.words);
                let left = gist(state(dir).as_deref());
                assert!(left == old || left == new, "{at}: {left:?}");
                assert!(succeeded != Some(true) || left == new, "{at}: what was told to be done is done");
                goes_on(dir, &at);
            },
        );
        // Each commit locks, writes, syncs, links, renames and syncs.
        assert!(ends > 12, "{:?}: {ends}", scene.words);
    }
}

#[test]
fn readers_beside_a_command_see_the_old_state_and_then_the_new() {
    for scene in SCENES {
        let (_dir, dir) = stage(scene);
        let beside = StateFolder::open(&dir).ok();
        if let Some(beside) = &beside {
            beside.state().unwrap();
        }
        let mut seen = vec![gist(state(&dir).as_deref())];
        let mut calls: Vec<Call> = Vec::new();
        let output = trace(&dir, scene.words, |call| {
            calls.push(*call);
            let now = gist(state(&dir).as_deref());
            if let Some(beside) = &beside {
                assert_eq!(gist(Some(&beside.state().unwrap())), now);
            }
            if seen.last() != Some(&now) {
                seen.push(now);
            }
            Fate::GoOn
        });
        said(&output.unwrap());
        seen.push(gist(state(&dir).as_deref()));
        seen.dedup();
        assert_eq!(seen.len(), 2, "{:?}: {seen:?}", scene.words);
        // A power cut must not leave a link to a file that the disk does not have.
        let first = |number| calls.iter().position(|call| call.number == number).unwrap();
        assert!(first(libc::SYS_fsync) < first(libc::SYS_rename), "{calls:?}");
    }
}

#[test]
fn root_whose_maker_is_killed_at_any_call_is_laid_whole_by_the_next_run() {
    let library = tempfile::NamedTempFile::new().unwrap();
    fs::write(library.path(), "no library").unwrap();
    let library = library.path().to_str().unwrap();
    let (_dir, folder) = crate::sim::node("t4");
    let (_other, other) = crate::sim::node("t4");
    other.reload(Some("999.1")).unwrap();
    let lay = |folder: &StateFolder, root: &Path| {
        nvml_sim::root::lay(folder, root, Some(Path::new(library))).unwrap();
        tree(root)
    };
    let whole = [&folder, &other].map(|folder| {
        let root = scratch();
        (folder, lay(folder, &root.path().join("root")))
    });
    let root = scratch();
    let root = root.path().join("root");
    let words = ["root", "--library", library, root.to_str().unwrap()];
    let mut ends = 0;
    let points = each_end(
        &[Fate::Kill, Fate::Tear],
        || {
            // Not there the first time.
            let _ = fs::remove_dir_all(&root);
            ((), folder.dir().to_owned())
        },
        &words,
        |_, _, at| {
            // Of the same node, or of another version of the driver, so that most names differ.
            let (next, whole) = &whole[ends % 2];
            assert_eq!(lay(next, &root), *whole, "{at}");
            ends += 1;
        },
    );
    assert!(points > 2 * whole[0].1.len(), "{points}");
}

#[test]
fn root_follows_a_change_whose_maker_is_killed_at_any_call() {
    let library = tempfile::NamedTempFile::new().unwrap();
    let first = scratch();
    let first = first.path().join("root");
    // In the root itself, so that a copy is whole.
    const STATE: &str = "var/lib/nvml-sim";
    nvml_sim::root::lay(&node(&first.join(STATE)), &first, Some(library.path())).unwrap();
    let mut seen = BTreeSet::new();
    let points = each_end(
        &[Fate::Kill, Fate::Tear],
        || {
            let (kept, root) = copy(&first);
            (kept, root.join(STATE))
        },
        &["reload", "--driver-version", "999.1"],
        |dir, _, at| {
            let folder = open(dir).unwrap();
            look_until_in_step(&folder);
            let version = folder.node().unwrap().driver_version;
            let told = fs::read_to_string(dir.join("../../../proc/driver/nvidia/version")).unwrap();
            assert!(told.contains(&version), "{at}: {version}, {told}");
            seen.insert(version);
        },
    );
    assert!(points > 12 && seen.len() == 2, "{points}, {seen:?}");
}

/// A copy of a folder as it is, device nodes left out: a run makes them anew.
fn copy_tree(from: &Path, to: &Path) {
    for entry in from.read_dir().into_iter().flatten() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let kind = path.symlink_metadata().unwrap();
        if kind.is_symlink() {
            symlink(fs::read_link(&path).unwrap(), to).unwrap();
        } else if kind.is_dir() {
            fs::create_dir_all(&to).unwrap();
            copy_tree(&path, &to);
        } else if kind.is_file() {
            fs::copy(&path, &to).unwrap();
        }
    }
}

#[test]
fn run_that_was_killed_leaves_a_link_or_none() {
    let library = tempfile::NamedTempFile::new().unwrap();
    let library = library.path().to_str().unwrap();
    let words = ["run", "--library", library, "--", "true"];
    let (_first, first) = crate::sim::node("t4");
    each_end(
        &ALL,
        || copy(first.dir()),
        &words,
        |dir, _, at| {
            said(&nvml_sim(dir).args(words).output().unwrap());
            let libraries = tree(&dir.join("lib"));
            let link = (PathBuf::from("libnvidia-ml.so.1"), format!("-> {library}"));
            assert_eq!(libraries.into_iter().collect::<Vec<_>>(), [link], "{at}");
        },
    );
}
