//! Taking a field manager's labels and annotations off a Node, as an uninstallation does.

use std::collections::{BTreeMap, BTreeSet};

use hyper::Method;

use super::apply::apply;
use crate::cluster::{Call, Cluster, METADATA, encoded};
use crate::error::ApiError;
use crate::field::Field;
use crate::view::NodeView;

/// What an uninstallation did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Gone from the Node.
    pub gone: BTreeSet<Field>,
    /// Still there, since another field manager holds them too.
    pub left_to_others: BTreeSet<Field>,
}

/// Gives up everything that `manager` holds on the Node: an apply of nothing. Keys that another holds too stay. A Node that
/// doesn't exist or has nothing of the manager is none to write to.
///
/// # Errors
/// The failed request; nothing is tried again.
pub async fn remove_labels(cluster: &Cluster, node: &str, manager: &str) -> Result<Removed, ApiError> {
    let path = format!("/api/v1/nodes/{}", encoded(node));
    let call = Call { accept: METADATA, ..Call::new("get", "nodes", Method::GET, path) };
    let body = match cluster.call(call).await {
        Err(error) if error.code() == Some(404) => return Ok(Removed::default()),
        answer => answer?,
    };
    let before =
        NodeView::read(&body, node).map_err(|error| ApiError::Garbage { what: error.to_string() })?;
    let ours = before.owned_by(manager);
    if ours.is_empty() {
        return Ok(Removed::default());
    }
    let after = apply(cluster, (node, &before.uid), manager, &BTreeMap::new()).await?;
    let (left_to_others, gone) = ours.into_iter().partition(|field| after.fields.contains_key(field));
    Ok(Removed { gone, left_to_others })
}
