//! The Kubernetes API as an agent of one node sees it: its own Node, labels, annotations, events, NodeFeature.
//!
//! The one crate that links a Kubernetes client. It knows no GPU, no file but the client's credentials, and asks the
//! API server for nothing but this node's objects.
//!
//! A daemon makes one [`Cluster`], runs one [`NodeWatcher`], and gives its receiver to everything that looks at the Node:
//!
//! ```no_run
//! # async fn example() {
//! use node_api::{Access, Cluster, Desired, Events, LabelKeeper, NodeWatcher, Reporter, Timing};
//!
//! let cluster = Cluster::connect(Access::InCluster, Timing::default());
//! let (watcher, node) = NodeWatcher::new(cluster.clone(), "node-1");
//! let (events, writer) = Events::new(cluster.clone(), "node-1", Reporter::new("gantry.dev/example", "pod-1"));
//! let (desire, desired) = tokio::sync::watch::channel(None);
//! let (keeper, kept) = LabelKeeper::new(cluster, node, "gantry-example", desired, Some(events));
//! tokio::spawn(watcher.run());
//! tokio::spawn(writer.run());
//! tokio::spawn(keeper.run());
//! let labels = [("example.com/key".to_owned(), "value".to_owned())].into();
//! desire.send_replace(Some(Desired { generation: 1, labels, annotations: Default::default() }));
//! # let _ = kept;
//! # }
//! ```
//!
//! None of the futures ends by itself while its inputs live, and each may be dropped at any point.

mod access;
mod answer;
mod backoff;
mod cluster;
mod difference;
mod error;
mod event;
mod field;
mod labels;
mod managed;
mod node_feature;
mod node_watch;
mod refusal;
mod requests;
mod restoring;
mod timing;
mod view;

pub use access::Access;
pub use answer::{Answer, Cause};
pub use cluster::Cluster;
pub use difference::Difference;
pub use error::ApiError;
pub use event::{EventWriter, Events, Happening, Kind, Reporter};
pub use field::Field;
pub use labels::{Desired, Kept, LabelKeeper, Removed, Trouble, remove_labels};
pub use node_feature::{
    DesiredFeatures, Features, NodeFeatureKeeper, NodeFeatureKept, NodeFeaturePlace, Owner,
    remove_node_feature,
};
pub use node_watch::{NodeWatcher, OwnNode};
pub use refusal::{Refusal, refused};
pub use requests::{RequestKind, Requests};
pub use restoring::Restoring;
pub use timing::Timing;
pub use view::{NodeView, NotANode};
