//! The NodeFeature object of this node, as Node Feature Discovery reads it (`nfd.k8s-sigs.io/v1alpha1`).
//!
//! The object is ours alone: it is read, created or replaced, and written only where it differs.

mod document;
mod keeper;

use std::collections::{BTreeMap, BTreeSet};

pub use keeper::{NodeFeatureKeeper, NodeFeatureKept, remove_node_feature};

/// Where the object stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFeaturePlace {
    /// Its namespace: where the daemon's pod is, since Node Feature Discovery reads all of them.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The node that it speaks of.
    pub node: String,
    /// Who writes it.
    pub manager: String,
    /// With what it shall be deleted. Where the API server refuses that, the NodeFeature has no owner.
    pub owner: Owner,
}

/// The object by whose deletion Kubernetes deletes the NodeFeature, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The Node that it speaks of: it outlives the daemon and its upgrades, and goes with the Node. By a reference that
    /// blocks no deletion, which takes no right beyond those of the object itself and to get the Node.
    Node,
    /// None: it stays until it is removed.
    Nobody,
}

/// What the object shall say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DesiredFeatures {
    /// Tells one wish from another; it grows with each.
    pub generation: u64,
    /// The labels that Node Feature Discovery is asked to set.
    pub labels: BTreeMap<String, String>,
    /// What its rules can match on.
    pub features: Features,
}

/// What a NodeFeatureRule can match on. The outer key is the feature's name, as `nvidia.gpu`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Names without values.
    pub flags: BTreeMap<String, BTreeSet<String>>,
    /// Names with values.
    pub attributes: BTreeMap<String, BTreeMap<String, String>>,
    /// One set of names with values for each instance.
    pub instances: BTreeMap<String, Vec<BTreeMap<String, String>>>,
}
