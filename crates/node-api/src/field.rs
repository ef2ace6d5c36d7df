//! A label or annotation of an object.

use std::fmt;

/// Which label or annotation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// The annotation of that key.
    Annotation(String),
    /// The label of that key.
    Label(String),
}

impl Field {
    /// Its key.
    pub fn key(&self) -> &str {
        match self {
            Field::Annotation(key) | Field::Label(key) => key,
        }
    }

    /// Its path in the terms of the API server: `.metadata.labels.KEY`, whatever is in the key.
    pub(crate) fn from_path(path: &str) -> Option<Field> {
        let path = path.strip_prefix('.').unwrap_or(path).strip_prefix("metadata.")?;
        if let Some(key) = path.strip_prefix("labels.") {
            return Some(Field::Label(key.to_owned()));
        }
        Some(Field::Annotation(path.strip_prefix("annotations.")?.to_owned()))
    }
}

impl fmt::Display for Field {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Field::Annotation(key) => write!(out, "annotation {key}"),
            Field::Label(key) => write!(out, "label {key}"),
        }
    }
}
