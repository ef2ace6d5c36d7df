//! The two kinds of path, which never mix. It knows no files.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A path in the host's file system, absolute and without `..`: what a CDI spec or a manifest names.
///
/// It is text, not a [`Path`], so that nobody opens it by mistake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPath(String);

/// A path that this process can open.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalPath(PathBuf);

/// A text that names no place in the host's file system.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{value:?} is not a path on the host: {rule}")]
pub struct NotAHostPath {
    value: String,
    rule: &'static str,
}

impl HostPath {
    /// Takes a path as a configuration or a spec gives it. Repeated slashes and `.` are dropped.
    pub fn new(value: impl Into<String>) -> Result<HostPath, NotAHostPath> {
        let value = value.into();
        let refuse = |rule| NotAHostPath { value: value.clone(), rule };
        if !value.starts_with('/') {
            return Err(refuse("it must begin with a slash"));
        }
        if value.contains('\0') {
            return Err(refuse("it must not contain a zero byte"));
        }
        if value.split('/').any(|part| part == "..") {
            return Err(refuse("it must not contain '..'"));
        }
        Ok(HostPath(clean(&value)))
    }

    /// The host's own root, `/`.
    pub fn root() -> HostPath {
        HostPath("/".to_owned())
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path of `inside` below this one, given relative to it, or as if this one were the root.
    pub fn join(&self, inside: &str) -> Result<HostPath, NotAHostPath> {
        HostPath::new(format!("{}/{inside}", self.0))
    }

    /// What stands below `root`: relative, empty for `root` itself. `None` if it is elsewhere.
    pub fn below(&self, root: &HostPath) -> Option<&str> {
        if root.0 == "/" {
            return Some(&self.0[1..]);
        }
        let rest = self.0.strip_prefix(&root.0)?;
        if rest.is_empty() { Some("") } else { rest.strip_prefix('/') }
    }
}

fn clean(value: &str) -> String {
    let parts: Vec<&str> = value.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    format!("/{}", parts.join("/"))
}

impl LocalPath {
    /// Takes a path as a flag gives it.
    pub fn new(path: impl Into<PathBuf>) -> LocalPath {
        LocalPath(path.into())
    }

    /// The path, to be opened.
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// The path of `name` in this folder.
    pub fn join(&self, name: impl AsRef<Path>) -> LocalPath {
        LocalPath(self.0.join(name))
    }

    /// The folder that it stands in.
    pub fn parent(&self) -> Option<LocalPath> {
        self.0.parent().map(LocalPath::new)
    }

    /// The path without `.` and `..`, worked out on the text alone.
    pub(crate) fn lexical(&self) -> PathBuf {
        let mut clean = PathBuf::new();
        for part in self.0.components() {
            match part {
                Component::CurDir => {}
                Component::ParentDir if clean.file_name().is_some() => {
                    clean.pop();
                }
                Component::ParentDir if clean.has_root() => {}
                other => clean.push(other),
            }
        }
        clean
    }
}

impl AsRef<Path> for LocalPath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl AsRef<OsStr> for LocalPath {
    fn as_ref(&self) -> &OsStr {
        self.0.as_os_str()
    }
}

impl From<LocalPath> for PathBuf {
    fn from(path: LocalPath) -> PathBuf {
        path.0
    }
}

impl fmt::Display for LocalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl fmt::Display for HostPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for HostPath {
    type Error = NotAHostPath;

    fn try_from(value: String) -> Result<Self, NotAHostPath> {
        HostPath::new(value)
    }
}

impl FromStr for HostPath {
    type Err = NotAHostPath;

    fn from_str(value: &str) -> Result<Self, NotAHostPath> {
        HostPath::new(value)
    }
}

impl From<HostPath> for String {
    fn from(path: HostPath) -> String {
        path.0
    }
}
