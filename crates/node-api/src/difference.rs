//! Whether a Node has what a field manager wants of it, and nothing else of that manager.

use std::collections::{BTreeMap, BTreeSet};

use crate::field::Field;
use crate::view::NodeView;

/// What is between a Node and what a field manager wants. Empty: nothing has to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Wanted, and not there or with another value.
    pub missing: BTreeSet<Field>,
    /// There with the right value, but not held by the manager, so that another may take it away.
    pub unowned: BTreeSet<Field>,
    /// Held by the manager, but no longer wanted.
    pub surplus: BTreeSet<Field>,
}

impl Difference {
    /// Compares a Node with what `manager` wants. A server that shows no owners at all (a proxy may strip them) is
    /// compared by values alone.
    pub fn between(view: &NodeView, wanted: &BTreeMap<Field, String>, manager: &str) -> Difference {
        let owned = view.owned_by(manager);
        let mut difference = Difference::default();
        for (field, value) in wanted {
            if view.fields.get(field) != Some(value) {
                difference.missing.insert(field.clone());
            } else if !owned.contains(field) && !view.owners.is_empty() {
                difference.unowned.insert(field.clone());
            }
        }
        difference.surplus = owned.into_iter().filter(|field| !wanted.contains_key(field)).collect();
        difference
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unowned.is_empty() && self.surplus.is_empty()
    }
}
