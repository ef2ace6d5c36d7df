//! The state folder: `node.yaml` as declared, and the state that all processes share. It knows locking and
//! atomic replacement, not what a state means.
//!
//! A commit writes `state.NODE.N.json`, syncs it, and renames a link named `state` to it. So a process killed at any
//! point leaves the old or the new state, and a reader sees whether anything changed by reading one link. NODE is
//! the time when the node was made: a reader must not take the states of a node that was made anew in the
//! folder for those of the former one, which it may have seen.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde::Deserialize;
use thiserror::Error;

use super::declared::Declared;
use super::lock::Lock;
use super::{FORMAT, State};
use crate::clock::Clock;
use crate::faults::Declared as Declares;
use crate::files::remove_if_there;
use crate::freeze::{self, FreezeError};
use crate::kernel_log;
use crate::library::Complaints;
use crate::node::{Node, NodeError};
use crate::processes::Lives;
use crate::root::follow;

const NODE_FILE: &str = "node.yaml";
const LINK: &str = "state";
const NEXT_LINK: &str = "state.next";
/// Files of former generations that stay, for readers that have read the link but not yet opened the file.
const FORMER_KEPT: u64 = 8;
/// Tries of a reader whose file was removed between reading the link and opening it.
const READ_TRIES: usize = 16;

/// A state folder, opened. Clones of the `Arc` share one cache.
#[derive(Debug)]
pub struct StateFolder {
    dir: PathBuf,
    /// The state read last, under the name of its file.
    cached: Mutex<Option<(PathBuf, Arc<State>)>>,
    /// What was said of host roots that do not follow.
    complaints: Complaints,
    /// Whether host roots were behind while somebody else had the lock: of this folder, or in this process of any.
    is_repair_due: AtomicBool,
}

/// Why a state folder could not be used.
#[derive(Debug, Error)]
pub enum StateFolderError {
    /// Not a state folder.
    #[error("{} is no simulated node: it has no node.yaml; `nvml-sim init --preset t4 {}` makes one", dir.display(), dir.display())]
    Missing {
        /// The folder.
        dir: PathBuf,
    },
    /// A folder that already is one.
    #[error("{} already is a simulated node; remove it first, or choose another folder", dir.display())]
    Exists {
        /// The folder.
        dir: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A state file that is not a state.
    #[error("{} is no state of a simulated node", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where it goes wrong.
        source: serde_json::Error,
    },
    /// A state of another version of the simulator.
    #[error(
        "{} is a state of format {found}, and nvml-sim {} knows format {FORMAT} only: \
         use the nvml-sim of which it is, or make the node anew",
        path.display(),
        env!("CARGO_PKG_VERSION")
    )]
    Format {
        /// The link to it.
        path: PathBuf,
        /// Its format; 0 where it says none.
        found: u32,
    },
    /// A node file that is not a node.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A fault for which this machine cannot be made ready.
    #[error(transparent)]
    Freeze(#[from] FreezeError),
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateFolderError {
    let path = path.to_owned();
    move |source| StateFolderError::Io { action, path, source }
}

impl StateFolder {
    /// Makes a folder with a node file. The file is checked first: a bad one changes nothing.
    pub fn create(dir: &Path, node_file: &Path, node_yaml: &str) -> Result<StateFolder, StateFolderError> {
        let node = Node::parse(node_file, node_yaml)?;
        let folder = StateFolder::at(dir);
        let path = dir.join(NODE_FILE);
        let freezes = node.faults.iter().position(Declares::freezes);
        if let Some(index) = freezes.filter(|_| !rustix::process::geteuid().is_root()) {
            let at = format!("faults[{index}].uninterruptible");
            return Err(NodeError::at(node_file, at, FreezeError::NotRoot.to_string()).into());
        }
        if folder.is_there() {
            return Err(StateFolderError::Exists { dir: folder.dir });
        }
        fs::create_dir_all(dir).map_err(failed("create", dir))?;
        {
            let _lock = folder.lock()?;
            // Another process may have made it meanwhile.
            if folder.is_there() {
                return Err(StateFolderError::Exists { dir: folder.dir });
            }
            // What happened to an earlier node in this folder did not happen to this one. Its readers must find a
            // state at each moment, so the new one takes the place of the old before the others go.
            let initial = State::initial(&node, Clock::default().now_us());
            folder.publish(&initial, &new_node_name())?;
            let log = dir.join(kernel_log::FILE);
            kernel_log::create(dir).map_err(failed("write", &log))?;
            folder.mark_kernel_log(0)?;
            folder.complete_kernel_log(&Declared::known(&folder, node), &initial)?;
            if freezes.is_some() {
                freeze::freeze(dir)?;
            }
            let next = dir.join("node.yaml.next");
            write_synced(&next, node_yaml.as_bytes()).map_err(failed("write", &next))?;
            fs::rename(&next, &path).map_err(failed("write", &path))?;
            sync_dir(dir).map_err(failed("sync", dir))?;
        }
        Ok(folder)
    }

    fn at(dir: &Path) -> StateFolder {
        StateFolder {
            dir: dir.to_owned(),
            cached: Mutex::new(None),
            complaints: Complaints::default(),
            is_repair_due: AtomicBool::new(false),
        }
    }

    /// Opens a folder that has a node file.
    pub fn open(dir: &Path) -> Result<StateFolder, StateFolderError> {
        let folder = StateFolder::at(dir);
        if folder.is_there() { Ok(folder) } else { Err(StateFolderError::Missing { dir: folder.dir }) }
    }

    /// Whether it still has a node file.
    pub(crate) fn is_there(&self) -> bool {
        self.dir.join(NODE_FILE).exists()
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The node as declared now, with the driver that was loaded last.
    pub fn node(&self) -> Result<Node, StateFolderError> {
        self.declared_with_driver(&*self.read()?)
    }

    fn declared_with_driver(&self, state: &State) -> Result<Node, StateFolderError> {
        Ok(with_driver(self.declared()?, state))
    }

    pub(super) fn declared(&self) -> Result<Node, StateFolderError> {
        let path = self.dir.join(NODE_FILE);
        let text = fs::read_to_string(&path).map_err(failed("read", &path))?;
        Ok(Node::parse(&path, &text)?)
    }

    /// The current state. Costs one system call while nothing changes, and three more for each process of the machine. An
    /// incident whose time has come is carried out by
    /// whoever looks first, and so is the end of a process of the machine; where that one may not write, it sees them all the
    /// same.
    pub fn state(&self) -> Result<Arc<State>, StateFolderError> {
        let state = self.read()?;
        let lives = Lives::of(&self.dir);
        let is_over = |life: &str| lives.is_over(life);
        if !state.is_behind() && !state.processes.lives().any(is_over) {
            return Ok(state);
        }
        match self.commit(|_| Ok::<(), std::convert::Infallible>(())) {
            Ok(Ok(((), state))) => Ok(state),
            Err(_) => {
                let mut state = State::clone(&state);
                state.end_lives(is_over);
                if state.is_behind() {
                    state.catch_up(&self.node()?, state.clock.now_us());
                }
                Ok(Arc::new(state))
            }
        }
    }

    /// The state as it was kept last.
    fn read(&self) -> Result<Arc<State>, StateFolderError> {
        let link = self.dir.join(LINK);
        let mut last = None;
        for _ in 0..READ_TRIES {
            let name = match fs::read_link(&link) {
                Ok(name) => name,
                Err(error) if error.kind() == io::ErrorKind::NotFound => PathBuf::new(),
                Err(error) => return Err(failed("read", &link)(error)),
            };
            let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((of, state)) = &*cached
                && *of == name
            {
                let state = Arc::clone(state);
                drop(cached);
                if self.is_repair_due.load(Ordering::Relaxed) {
                    self.repair_roots();
                }
                return Ok(state);
            }
            match self.load(&name) {
                Ok(state) => {
                    let state = Arc::new(state);
                    *cached = Some((name, Arc::clone(&state)));
                    drop(cached);
                    self.repair_roots();
                    return Ok(state);
                }
                Err(StateFolderError::Io { action, path, source })
                    if source.kind() == io::ErrorKind::NotFound =>
                {
                    last = Some(StateFolderError::Io { action, path, source });
                }
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| StateFolderError::Missing { dir: self.dir.clone() }))
    }

    fn load(&self, name: &Path) -> Result<State, StateFolderError> {
        if name.as_os_str().is_empty() {
            // A node file that a person put there.
            return Ok(State::initial(&self.declared()?, self.node_file_time_us()?));
        }
        let path = self.dir.join(name);
        let text = fs::read(&path).map_err(failed("read", &path))?;
        let head: Head = match serde_json::from_slice(&text) {
            Ok(head) => head,
            Err(source) => return Err(StateFolderError::Damaged { path, source }),
        };
        if head.format != FORMAT {
            // The link, not the file: a client that looks again and again complains once.
            return Err(StateFolderError::Format { path: self.dir.join(LINK), found: head.format });
        }
        serde_json::from_slice(&text).map_err(|source| StateFolderError::Damaged { path, source })
    }

    fn mark_kernel_log(&self, after: u64) -> Result<(), StateFolderError> {
        kernel_log::mark(&self.dir, after).map_err(failed("write", &self.dir.join(kernel_log::FILE)))
    }

    /// Writes what the kernel's log lacks of what is kept in `state`, and so takes the mark away.
    fn complete_kernel_log(&self, declared: &Declared<'_>, state: &State) -> Result<(), StateFolderError> {
        let path = self.dir.join(kernel_log::FILE);
        let Some(behind) = kernel_log::behind(&self.dir).map_err(failed("read", &path))? else {
            return Ok(());
        };
        let events = state.events.records.iter().filter(|event| event.sequence > behind.after);
        kernel_log::complete(&self.dir, behind, declared.node()?, events).map_err(failed("write", &path))
    }

    /// When the node file was written: each reader must find the same, until a state is kept.
    fn node_file_time_us(&self) -> Result<u64, StateFolderError> {
        let path = self.dir.join(NODE_FILE);
        let time = fs::metadata(&path).and_then(|file| file.modified()).map_err(failed("read", &path))?;
        Ok(Clock::default().at(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()))
    }

    /// Changes the state: one writer at a time over all processes, and whole or not at all. Returns what
    /// `change` returned and the state that is now current; an error of `change` leaves everything as it was.
    pub fn commit<T, E>(
        &self,
        change: impl FnOnce(&mut State) -> Result<T, E>,
    ) -> Result<Result<(T, Arc<State>), E>, StateFolderError> {
        let _lock = self.lock()?;
        let before = self.read()?;
        let declared = Declared::of(self);
        // A writer that was killed, or could not write, may have left this undone.
        self.complete_kernel_log(&declared, &before)?;
        let mut after = State::clone(&before);
        let lives = Lives::of(&self.dir);
        after.end_lives(|life| lives.is_over(life));
        if after.is_behind() {
            after.catch_up(declared.node()?, after.clock.now_us());
        }
        let value = match change(&mut after) {
            Ok(value) => value,
            Err(error) => return Ok(Err(error)),
        };
        if after == *before {
            return Ok(Ok((value, before)));
        }
        if after.moves_counters(&before) {
            after.settle_counters(&before, &declared.node()?.gpus);
        }
        after.generation = before.generation + 1;
        let has_events = after.events.last > before.events.last;
        if has_events {
            self.mark_kernel_log(before.events.last)?;
        }
        let are_roots_behind = follow::mark(&self.dir, &before, &after);
        self.publish(&after, &self.node_name()?)?;
        if !after.processes.lives().eq(before.processes.lives()) {
            lives.tidy(after.processes.lives());
        }
        if are_roots_behind {
            self.let_roots_follow(&declared, &after);
        }
        if has_events {
            self.complete_kernel_log(&declared, &after)?;
        }
        Ok(Ok((value, Arc::new(after))))
    }

    /// Brings the host roots in step. A root that cannot be is told of, and keeps no change from being made.
    fn let_roots_follow(&self, declared: &Declared<'_>, state: &State) {
        let node = declared.node().map(|node| with_driver(node.clone(), state));
        let followed = node.map(|node| follow::follow(&self.dir, &node, state));
        match followed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.complaints.say(&error),
            Err(error) => self.complaints.say(&error),
        }
    }

    /// Does for the host roots what a writer has left undone. While another one is at work it waits for the next look.
    fn repair_roots(&self) {
        self.is_repair_due.store(false, Ordering::Relaxed);
        if !follow::are_behind(&self.dir) {
            return;
        }
        let _lock = match Lock::try_take(&self.dir) {
            Ok(Some(lock)) => lock,
            Ok(None) => return self.is_repair_due.store(true, Ordering::Relaxed),
            // Who may not write leaves it to others.
            Err(_) => return,
        };
        let now = fs::read_link(self.dir.join(LINK)).ok().and_then(|name| self.load(&name).ok());
        if let Some(state) = now {
            self.let_roots_follow(&Declared::of(self), &state);
        }
    }

    /// Looks at the node while nobody changes it. Where the folder cannot be locked, since it cannot be written, there is no
    /// being sure of that: says which.
    pub(crate) fn held_still<T>(
        &self,
        look: impl FnOnce(&Node, &State, bool) -> T,
    ) -> Result<T, StateFolderError> {
        let lock = self.lock();
        let state = self.read()?;
        let node = self.declared_with_driver(&state)?;
        Ok(look(&node, &state, lock.is_ok()))
    }

    /// As `commit`, for a change that cannot fail.
    pub fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> Result<T, StateFolderError> {
        match self.commit(|state| Ok::<T, std::convert::Infallible>(change(state)))? {
            Ok((value, _)) => Ok(value),
        }
    }

    /// The right to change the folder, for whoever keeps more in it than the state.
    pub(crate) fn lock(&self) -> Result<Lock, StateFolderError> {
        Lock::take(&self.dir).map_err(|(path, error)| failed("lock", &path)(error))
    }

    /// The part of file names that is this node's own.
    fn node_name(&self) -> Result<String, StateFolderError> {
        let link = self.dir.join(LINK);
        let known = match fs::read_link(&link) {
            Ok(name) => name
                .to_str()
                .and_then(|name| name.strip_prefix("state.")?.strip_suffix(".json")?.split_once('.'))
                .map(|(node, _)| node.to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed("read", &link)(error)),
        };
        Ok(known.unwrap_or_else(new_node_name))
    }

    fn publish(&self, state: &State, node: &str) -> Result<(), StateFolderError> {
        let generation = state.generation;
        let name = state_file(node, generation);
        let path = self.dir.join(&name);
        let text = serde_json::to_vec_pretty(state)
            .map_err(|source| StateFolderError::Damaged { path: path.clone(), source })?;
        // A killed writer may have left a file and a link of this generation: both are replaced.
        write_synced(&path, &text).map_err(failed("write", &path))?;
        let next = self.dir.join(NEXT_LINK);
        remove_if_there(&next).map_err(failed("remove", &next))?;
        std::os::unix::fs::symlink(&name, &next).map_err(failed("link", &next))?;
        let link = self.dir.join(LINK);
        fs::rename(&next, &link).map_err(failed("rename", &link))?;
        sync_dir(&self.dir).map_err(failed("sync", &self.dir))?;
        // Best effort: a file that stays costs disk space only, and the next commit tries again.
        let _ = remove_states(&self.dir, node, generation);
        Ok(())
    }
}

/// A node with the driver that was loaded last.
fn with_driver(mut node: Node, state: &State) -> Node {
    if let Some(version) = &state.driver.version {
        node.load_driver(version);
    }
    node
}

/// The beginning of a state's file.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    format: u32,
}

/// A name that no other node of the folder has: nanoseconds since 1970, hexadecimal.
fn new_node_name() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{:x}", now.as_nanos())
}

/// Removes the states of former nodes, and of this node's former generations those that no reader looks for any more.
/// All of them, since a killed writer has left its own part undone.
fn remove_states(dir: &Path, node: &str, generation: u64) -> io::Result<()> {
    let kept = generation.saturating_sub(FORMER_KEPT - 1)..=generation;
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let parts = name.to_str().and_then(|name| name.strip_prefix("state.")?.strip_suffix(".json"));
        let Some(parts) = parts else { continue };
        let own = parts.split_once('.').filter(|(of, _)| *of == node);
        if !own.and_then(|(_, number)| number.parse().ok()).is_some_and(|number| kept.contains(&number)) {
            fs::remove_file(dir.join(&name))?;
        }
    }
    Ok(())
}

fn state_file(node: &str, generation: u64) -> String {
    format!("state.{node}.{generation}.json")
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
