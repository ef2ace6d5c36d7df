//! A count of the requests made, for metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A kind of request and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestKind {
    /// `get`, `watch`, `patch`, `create`, `update`, `delete`.
    pub verb: &'static str,
    /// `nodes`, `events`, `nodefeatures`.
    pub resource: &'static str,
    /// HTTP's code, or `no-access`, `unreachable`, `timeout`.
    pub outcome: String,
}

/// All requests of a [`Cluster`](crate::Cluster) by kind. Clones share the count.
#[derive(Clone, Debug, Default)]
pub struct Requests(Arc<Mutex<BTreeMap<RequestKind, u64>>>);

impl Requests {
    pub(crate) fn count(&self, verb: &'static str, resource: &'static str, outcome: String) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(RequestKind { verb, resource, outcome }).or_default() += 1;
    }

    /// The counts until now. They never shrink.
    pub fn counts(&self) -> BTreeMap<RequestKind, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
