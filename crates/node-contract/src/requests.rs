//! What files have in common that are named after their own ids, in folders that only root enters: people's requests
//! about health, and leases.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;

use jiff::Timestamp;
use node_host::LocalPath;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::strict::{self, ReadError};

/// Readable by root alone.
pub(crate) const FILE_MODE: u32 = 0o600;

/// How the names of the files end; the id stands before it.
const ENDING: &str = ".json";

/// Longest name of a person, in characters.
pub(crate) const MAX_WHO: usize = 128;

/// Longest reason, in characters.
pub(crate) const MAX_WHY: usize = 512;

/// A file that has an id and is checked beyond its form.
pub(crate) trait Named: DeserializeOwned + Serialize {
    /// Its id.
    fn id(&self) -> &str;

    /// Whether its values can be.
    fn check(&self) -> Result<(), InvalidRequest>;
}

/// A value that cannot be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field} is {given:?}: {hint}")]
pub struct InvalidRequest {
    /// What.
    pub field: &'static str,
    /// As it was given, shortened.
    pub given: String,
    /// What would be right.
    pub hint: String,
}

/// An id of this moment, unique on the node. Ids sort by time.
pub(crate) fn new_id(at: Timestamp) -> String {
    format!("{:020}-{}", at.as_nanosecond(), std::process::id())
}

/// The file of this id.
pub(crate) fn path_of(folder: &LocalPath, id: &str) -> LocalPath {
    folder.join(format!("{id}{ENDING}"))
}

/// The id in this name, if it is the name of such a file.
pub(crate) fn id_in(name: &str) -> Option<&str> {
    name.strip_suffix(ENDING).filter(|id| !id.is_empty())
}

/// Makes the folder, and those above it, for root alone.
pub(crate) fn make_folder(folder: &LocalPath) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Names of a folder's files, in order; none if there is no folder. What begins with a dot is being written. Somebody else
/// may fill the folder: `at_most` so many are looked at.
pub(crate) fn names(folder: &LocalPath, at_most: usize) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries.take(at_most) {
        let name = entry?.file_name();
        names.extend(name.to_str().filter(|name| !name.starts_with('.')).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// Reads the file at `path`. Strict, and its name must be its id.
pub(crate) fn read<T: Named>(path: &LocalPath, schema: u32) -> Result<T, ReadError> {
    let value: T = strict::read(path, schema)?;
    let wrong = |InvalidRequest { field, given, hint }| ReadError::Value {
        path: path.clone(),
        at: field.to_owned(),
        value: format!("{given:?}"),
        hint,
    };
    value.check().map_err(wrong)?;
    let name = path.as_path().file_name().and_then(|name| name.to_str());
    if name.and_then(id_in) != Some(value.id()) {
        let hint = "expected the name of the file".to_owned();
        return Err(wrong(InvalidRequest { field: "id", given: value.id().to_owned(), hint }));
    }
    Ok(value)
}

/// Whether a text is one line of at most so many characters that can be printed.
pub(crate) fn check_line(field: &'static str, given: &str, longest: usize) -> Result<(), InvalidRequest> {
    let is_text = !given.trim().is_empty() && !given.chars().any(char::is_control);
    if is_text && given.chars().count() <= longest {
        return Ok(());
    }
    let hint = format!("expected 1 to {longest} printable characters on one line");
    Err(InvalidRequest { field, given: given.chars().take(longest).collect(), hint })
}
