//! Strict reading and atomic writing of a JSON file with a schema version, whatever its form is.
//!
//! An unknown field is found by writing the value again and looking for what did not come back: so types of the
//! vocabulary need not know how strictly a file is read. A key that stands twice is found while the text is read, since
//! of the two values one would be lost.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};

use node_host::{LocalPath, atomic};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

mod document;
mod mended;

pub use mended::Mended;
pub(crate) use mended::{read_mended, remove};

/// Largest file that is read or written, in bytes. 16 GPUs take about 10 KiB.
pub const MAX_BYTES: u64 = 1024 * 1024;

/// Longest value that an error quotes, in characters.
const MAX_QUOTE: usize = 80;

/// A file that could not be read as what it should be.
#[derive(Debug, Error)]
pub enum ReadError {
    /// It could not be opened or read; also when it does not exist.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: LocalPath,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It is larger than any file that we write.
    #[error("{path} is larger than {MAX_BYTES} bytes: this is not a file of ours")]
    TooLarge {
        /// The file.
        path: LocalPath,
    },
    /// It is no JSON.
    #[error("{path} is not JSON: the file was not written by Gantry, or was edited")]
    Syntax {
        /// The file.
        path: LocalPath,
        /// Where it ceases to be JSON.
        #[source]
        source: serde_json::Error,
    },
    /// It names something twice, and nobody knows which is meant.
    #[error("{path} is ambiguous: the file was not written by Gantry, or was edited")]
    Ambiguous {
        /// The file.
        path: LocalPath,
        /// What stands twice, and where.
        #[source]
        source: serde_json::Error,
    },
    /// It is of a schema that this version of the daemon does not read.
    #[error(
        "{path}: schema_version is {found}, expected {known}: run the same version of all Gantry daemons on a node"
    )]
    Schema {
        /// The file.
        path: LocalPath,
        /// What it says; `null` if nothing.
        found: String,
        /// What is read here.
        known: u32,
    },
    /// A value is wrong.
    #[error("{path}: {at} is {value}: {hint}")]
    Value {
        /// The file.
        path: LocalPath,
        /// JSON path of the value, such as `inventory.gpus[3].uuid`.
        at: String,
        /// The value, shortened.
        value: String,
        /// What would be right.
        hint: String,
    },
}

/// A file that could not be written. Its old content, if any, is untouched.
#[derive(Debug, Error)]
pub enum WriteError {
    /// The value has no JSON form.
    #[error("cannot put the content of {path} in JSON")]
    Json {
        /// The file.
        path: LocalPath,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// Its readers would refuse it for its size.
    #[error("the content of {path} takes {bytes} bytes, and no reader takes more than {MAX_BYTES}")]
    TooLarge {
        /// The file.
        path: LocalPath,
        /// Size of the content.
        bytes: usize,
    },
    /// The file could not be written.
    #[error(transparent)]
    File(#[from] atomic::WriteError),
}

impl ReadError {
    /// Whether there is no such file, as opposed to one that is wrong.
    pub fn is_missing(&self) -> bool {
        matches!(self, ReadError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Reads a value of schema `known`, and no field beyond: for what asks something of its reader, which an unknown field may
/// change.
pub(crate) fn read<T: DeserializeOwned + Serialize>(path: &LocalPath, known: u32) -> Result<T, ReadError> {
    let document = load(path, known)?;
    let value: T = typed(path, &document).map_err(|(_, error)| error)?;
    let again =
        serde_json::to_value(&value).map_err(|source| ReadError::Syntax { path: path.clone(), source })?;
    match unknown(&document, &again, &mut Place::default()) {
        Some(place) => Err(wrong(path, &document, &place, "no such field is known here".to_owned())),
        None => Ok(value),
    }
}

/// Moves a file that cannot be read aside, for people; what stood there is lost. Gives its new name for the log, or why it
/// was not moved.
pub fn set_aside(path: &LocalPath) -> String {
    let aside = format!("{path}.refused");
    match std::fs::rename(path, &aside) {
        Ok(()) => aside,
        Err(error) => format!("not moved: {error}"),
    }
}

/// The document of schema `known` at `path`.
fn load(path: &LocalPath, known: u32) -> Result<Value, ReadError> {
    let mut text = Vec::new();
    let file = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut text));
    file.map_err(|source| ReadError::Io { path: path.clone(), source })?;
    if text.len() as u64 > MAX_BYTES {
        return Err(ReadError::TooLarge { path: path.clone() });
    }

    let document = document::parse(&text).map_err(|source| match source.is_data() {
        true => ReadError::Ambiguous { path: path.clone(), source },
        false => ReadError::Syntax { path: path.clone(), source },
    })?;
    // Before anything else: of another schema, every other complaint would mislead.
    let version = document.get("schema_version").unwrap_or(&Value::Null);
    if version.as_u64() != Some(u64::from(known)) {
        return Err(ReadError::Schema { path: path.clone(), found: quote(version), known });
    }
    Ok(document)
}

/// The value of a document, or the place where it is wrong.
fn typed<T: DeserializeOwned>(path: &LocalPath, document: &Value) -> Result<T, (Place, ReadError)> {
    serde_path_to_error::deserialize(document).map_err(|error| {
        let place = Place::of(error.path());
        let error = wrong(path, document, &place, error.inner().to_string());
        (place, error)
    })
}

fn wrong(path: &LocalPath, document: &Value, at: &Place, hint: String) -> ReadError {
    let value = at.find(document).map_or_else(|| "absent".to_owned(), quote);
    ReadError::Value { path: path.clone(), at: at.to_string(), value, hint }
}

/// Replaces the file at `path`.
pub(crate) fn write(path: &LocalPath, value: &impl Serialize, mode: u32) -> Result<(), WriteError> {
    let text = serde_json::to_string_pretty(value);
    let text = text.map_err(|source| WriteError::Json { path: path.clone(), source })? + "\n";
    if text.len() as u64 > MAX_BYTES {
        return Err(WriteError::TooLarge { path: path.clone(), bytes: text.len() });
    }
    Ok(atomic::write(path, text.as_bytes(), mode)?)
}

/// A place in a JSON document.
#[derive(Clone, Debug, Default)]
struct Place(Vec<Step>);

#[derive(Clone, Debug)]
enum Step {
    Key(String),
    Index(usize),
}

impl Place {
    fn of(path: &serde_path_to_error::Path) -> Place {
        use serde_path_to_error::Segment;
        let steps = path.iter().filter_map(|segment| match segment {
            Segment::Seq { index } => Some(Step::Index(*index)),
            Segment::Map { key } => Some(Step::Key(key.clone())),
            Segment::Enum { variant } => Some(Step::Key(variant.clone())),
            Segment::Unknown => None,
        });
        Place(steps.collect())
    }

    /// Its keys and positions.
    fn steps(&self) -> Vec<String> {
        let step = |step: &Step| match step {
            Step::Key(key) => key.clone(),
            Step::Index(index) => index.to_string(),
        };
        self.0.iter().map(step).collect()
    }

    fn find<'a>(&self, document: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(document, |value, step| match step {
            Step::Key(key) => value.get(key),
            Step::Index(index) => value.get(index),
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("the document");
        }
        for (number, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if number == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// The first key of `given` that `kept` lacks.
fn unknown(given: &Value, kept: &Value, at: &mut Place) -> Option<Place> {
    match (given, kept) {
        (Value::Object(given), Value::Object(kept)) => given.iter().find_map(|(key, value)| {
            at.0.push(Step::Key(key.clone()));
            let found = match kept.get(key) {
                Some(kept) => unknown(value, kept, at),
                None => Some(at.clone()),
            };
            at.0.pop();
            found
        }),
        (Value::Array(given), Value::Array(kept)) => {
            given.iter().zip(kept).enumerate().find_map(|(index, (given, kept))| {
                at.0.push(Step::Index(index));
                let found = unknown(given, kept, at);
                at.0.pop();
                found
            })
        }
        _ => None,
    }
}

fn quote(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(MAX_QUOTE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
