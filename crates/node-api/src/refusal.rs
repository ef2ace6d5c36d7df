//! Which keys of an apply the API server refused, out of what it answered: those are left out, and the others still go.
//!
//! Pure. An answer that names no key of ours refuses none: then the whole request failed.

use std::collections::BTreeMap;
use std::fmt;

use crate::answer::{Answer, Cause};
use crate::field::Field;

/// Why a key isn't on the Node as wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another field manager holds it with another value; it is never taken by force.
    Owned {
        /// The other field manager.
        by: String,
    },
    /// The API server or one of its admission rules refuses it.
    Denied {
        /// In the server's words.
        message: String,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Owned { by } => write!(out, "held by the field manager {by:?}"),
            Refusal::Denied { message } => write!(out, "refused: {message}"),
        }
    }
}

/// The keys of `wanted` that an answer names as its cause.
pub fn refused(answer: &Answer, wanted: &BTreeMap<Field, String>) -> BTreeMap<Field, Refusal> {
    match answer.code {
        409 => answer.causes.iter().filter_map(|cause| conflict(cause, wanted)).collect(),
        // 400 is what a webhook that names no code of its own denies with.
        400 | 403 | 422 => denied(answer, wanted),
        _ => BTreeMap::new(),
    }
}

/// One cause of a conflict of server-side apply.
fn conflict(cause: &Cause, wanted: &BTreeMap<Field, String>) -> Option<(Field, Refusal)> {
    if cause.reason != "FieldManagerConflict" {
        return None;
    }
    let field = Field::from_path(&cause.field).filter(|field| wanted.contains_key(field))?;
    // `conflict with "NAME"`, and more behind it for some.
    let by = cause.message.split('"').nth(1).unwrap_or("another").to_owned();
    Some((field, Refusal::Owned { by }))
}

fn denied(answer: &Answer, wanted: &BTreeMap<Field, String>) -> BTreeMap<Field, Refusal> {
    let whole = Cause { message: answer.message.clone(), ..Cause::default() };
    let mut found = BTreeMap::new();
    // The message repeats the causes; alone, it is all there is.
    for cause in answer.causes.iter().chain([&whole]) {
        for (field, value) in wanted {
            if !found.contains_key(field) && names(cause, field, value) {
                let message = cause.message.clone();
                found.insert(field.clone(), Refusal::Denied { message });
            }
        }
    }
    found
}

/// Whether a cause speaks of this key, or of this value.
fn names(cause: &Cause, field: &Field, value: &str) -> bool {
    let other = match field {
        Field::Label(_) => "annotations",
        Field::Annotation(_) => "labels",
    };
    if cause.field.contains(other) && !cause.message.contains(field.key()) {
        return false;
    }
    let quoted = format!("Invalid value: {value:?}");
    mentions(&cause.field, field.key())
        || mentions(&cause.message, field.key())
        || cause.message.contains(&quoted)
}

/// Whether `key` stands in `text` as a whole, not as part of another key.
fn mentions(text: &str, key: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    text.match_indices(key).any(|(at, _)| {
        let before = &text[..at];
        let after = &text[at + key.len()..];
        let begins =
            before.ends_with("labels.") || before.ends_with("annotations.") || !before.ends_with(part);
        // A sentence may end behind the key.
        let ends = !after.trim_start_matches('.').starts_with(part);
        begins && ends
    })
}
