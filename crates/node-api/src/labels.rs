//! Labels and annotations of the own Node, kept there by server-side apply as one field manager.
//!
//! Only the wanted keys, never by force, and nothing is sent while the Node shows them.

mod apply;
mod keeper;
mod remove;

use std::collections::BTreeMap;
use std::fmt;

pub use keeper::LabelKeeper;
pub use remove::{Removed, remove_labels};

use crate::error::ApiError;
use crate::field::Field;
use crate::refusal::Refusal;

/// What the Node shall show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// Tells one wish from another; it grows with each.
    pub generation: u64,
    /// All labels of the field manager: others of it are removed.
    pub labels: BTreeMap<String, String>,
    /// All annotations of the field manager.
    pub annotations: BTreeMap<String, String>,
}

impl Desired {
    pub(crate) fn fields(&self) -> BTreeMap<Field, String> {
        let labels = self.labels.iter().map(|(key, value)| (Field::Label(key.clone()), value.clone()));
        let annotations =
            self.annotations.iter().map(|(key, value)| (Field::Annotation(key.clone()), value.clone()));
        labels.chain(annotations).collect()
    }
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The latest generation that the Node showed, the refused keys aside. None: none yet.
    pub applied: Option<u64>,
    /// Why it isn't known that the Node shows now what it shall.
    pub trouble: Option<Trouble>,
    /// The keys that are left out, and why.
    pub refused: BTreeMap<Field, Refusal>,
    /// How many keys were put back after another took or changed them.
    pub restored: u64,
}

/// Why something isn't as it shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// A constant, as `api-unreachable`, `api-throttled`, `node-not-found` or `restoring-slowly`.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

impl Trouble {
    pub(crate) fn of(error: &ApiError) -> Trouble {
        Trouble { reason: error.reason(), message: error.chain() }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}
