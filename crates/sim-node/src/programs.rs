//! Where cargo has put the workspace's programs. It knows cargo's folders, and builds nothing.

use std::env;
use std::path::PathBuf;

use thiserror::Error;

/// A program that is not built.
#[derive(Debug, Error)]
#[error("{name} is not at {}: run `cargo build --workspace --bins --lib` first", path.display())]
pub struct MissingProgram {
    name: String,
    path: PathBuf,
}

/// The program `name` of this workspace, of the same profile as the running one.
///
/// # Errors
/// When it is not built, with the command that builds it.
pub fn find(name: &str) -> Result<PathBuf, MissingProgram> {
    let path = target_dir().join(name);
    if path.is_file() { Ok(path) } else { Err(MissingProgram { name: name.to_owned(), path }) }
}

/// A library of this workspace, of the same profile as the running program: that which the tests were built with, if it is
/// there.
pub(crate) fn find_library(name: &str) -> Result<PathBuf, MissingProgram> {
    let beside = target_dir().join("deps").join(name);
    if beside.is_file() { Ok(beside) } else { find(name) }
}

/// `target/<profile>`: the folder of the running program, or the one above where that is a test in `deps`.
fn target_dir() -> PathBuf {
    let mut dir = env::current_exe().unwrap_or_default();
    dir.pop();
    if dir.ends_with("deps") || dir.ends_with("examples") {
        dir.pop();
    }
    dir
}
