//! A folder that stands for the root of a file system, and paths resolved below it.
//!
//! Links are followed as `openat2(RESOLVE_IN_ROOT)` follows them: an absolute link and `..` stay below the
//! root. It is done here, step by step, because callers need the resolved name and not a descriptor, and
//! because older container runtimes refuse `openat2`.

mod memory;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

use thiserror::Error;

use crate::path::{HostPath, LocalPath};

use memory::{Memory, Seen};

/// Links followed in one path before it counts as a loop; the kernel's own limit (`MAXSYMLINKS`).
const MAX_LINKS: u32 = 40;

/// A folder that stands for the root of a file system: where the host has it, and where this process does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    host: HostPath,
    local: LocalPath,
    memory: Memory,
}

/// What to do about a part of a path that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    Refused,
    Kept,
}

/// The host's whole file system, as this process sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRoot(Root);

/// A path below a root that leads nowhere.
#[derive(Debug, Error)]
#[error("cannot resolve {inside:?} below {root}")]
pub struct ResolveError {
    root: LocalPath,
    inside: PathBuf,
    #[source]
    source: io::Error,
}

impl ResolveError {
    /// Whether nothing is there, as opposed to something that cannot be read.
    pub fn is_missing(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
    }
}

impl Root {
    /// A root which the host has at `host`, and this process at `local`.
    pub fn new(host: HostPath, local: LocalPath) -> Root {
        Root { host, local, memory: Memory::none() }
    }

    /// The same for one look at many files: that a part of a path is a plain folder, or is not there, is looked up once,
    /// and believed by this root and its clones for as long as they live.
    pub fn remembering(&self) -> Root {
        Root { memory: Memory::new(), ..self.clone() }
    }

    /// Where the host has it.
    pub fn host(&self) -> &HostPath {
        &self.host
    }

    /// Where this process has it.
    pub fn local(&self) -> &LocalPath {
        &self.local
    }

    /// The host's name of the file at `inside`, a path relative to this root. `None` if it is no UTF-8.
    pub fn host_path(&self, inside: &Path) -> Option<HostPath> {
        self.host.join(inside.to_str()?).ok()
    }

    /// This process' name of the file at `inside`, a path relative to this root. Links are not resolved.
    pub fn local_path(&self, inside: &Path) -> LocalPath {
        let plain: PathBuf =
            inside.components().filter(|part| matches!(part, Component::Normal(_))).collect();
        self.local.join(plain)
    }

    /// Follows every link in `inside` without ever leaving this root. The answer is relative to the
    /// root, and has no link in it.
    pub fn resolve(&self, inside: impl AsRef<Path>) -> Result<PathBuf, ResolveError> {
        let inside = inside.as_ref();
        self.walk(inside, Missing::Refused).map_err(|source| ResolveError {
            root: self.local.clone(),
            inside: inside.to_owned(),
            source,
        })
    }

    /// The same as far as something is there: what does not exist yet is taken as it stands.
    pub fn resolve_existing(&self, inside: impl AsRef<Path>) -> Result<PathBuf, ResolveError> {
        let inside = inside.as_ref();
        self.walk(inside, Missing::Kept).map_err(|source| ResolveError {
            root: self.local.clone(),
            inside: inside.to_owned(),
            source,
        })
    }

    fn walk(&self, inside: &Path, missing: Missing) -> io::Result<PathBuf> {
        let mut done = PathBuf::new();
        let mut todo: VecDeque<OsString> = parts(inside).collect();
        let mut links = 0;
        while let Some(part) = todo.pop_front() {
            if part == ".." {
                done.pop();
                continue;
            }
            done.push(&part);
            let here = self.local.as_path().join(&done);
            let kind = match self.memory.look(&done, &here) {
                Ok(Seen::Folder) => continue,
                Ok(Seen::Other(kind)) => kind,
                // Nothing can be below it either, so the rest holds no link.
                Err(error) if missing == Missing::Kept && error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if !kind.is_symlink() {
                if !todo.is_empty() {
                    return Err(io::ErrorKind::NotADirectory.into());
                }
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(io::Error::other("too many links"));
            }
            let target = here.read_link()?;
            done.pop();
            if target.is_absolute() {
                done.clear();
            }
            for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
                todo.push_front(part);
            }
        }
        Ok(done)
    }
}

/// The parts of a path that lead somewhere: names and `..`.
fn parts(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

impl HostRoot {
    /// The host's root, which this process has at `local`: `/` on the host itself, often `/host` in a container.
    pub fn new(local: impl Into<PathBuf>) -> HostRoot {
        HostRoot(Root::new(HostPath::root(), LocalPath::new(local)))
    }

    /// As [`Root::remembering`].
    pub fn remembering(&self) -> HostRoot {
        HostRoot(self.0.remembering())
    }

    /// The same as any other root.
    pub fn as_root(&self) -> &Root {
        &self.0
    }

    /// Where this process has a file of the host. Links are not resolved.
    pub fn local(&self, path: &HostPath) -> LocalPath {
        self.0.local_path(Path::new(path.as_str()))
    }

    /// Where this process has a file of the host, with the links that the host follows on the way to it followed
    /// below this root: the kernel would follow an absolute one below the root of this process. What does not exist is
    /// taken as it stands, and so is a path that cannot be followed.
    pub fn resolved(&self, path: &HostPath) -> LocalPath {
        let inside = Path::new(path.as_str());
        match self.0.resolve_existing(inside) {
            Ok(found) => self.0.local_path(&found),
            Err(_) => self.local(path),
        }
    }

    /// The root which the host has at `path`.
    pub fn root_of(&self, path: HostPath) -> Root {
        let local = self.resolved(&path);
        Root::new(path, local)
    }

    /// The root which this process has at `local`. `None` if the host has no name for it that is known here.
    pub fn root_at(&self, local: LocalPath) -> Option<Root> {
        Some(Root::new(self.host(&local)?, local))
    }

    /// Where the host has a folder of this process, which is mounted at the host's own path where it is not below the
    /// host's root. `None` if it has no name that a host could have.
    pub fn host_or_same(&self, path: &LocalPath) -> Option<HostPath> {
        self.host(path).or_else(|| HostPath::new(path.lexical().to_str()?).ok())
    }

    /// Where the host has a file of this process. `None` if it is not below the host's root (or no UTF-8):
    /// the host has no name for it that is known here.
    pub fn host(&self, path: &LocalPath) -> Option<HostPath> {
        let inside = path.lexical().strip_prefix(self.0.local.lexical()).ok()?.to_owned();
        self.0.host_path(&inside)
    }
}
