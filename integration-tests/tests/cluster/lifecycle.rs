//! The cluster itself: starting what runs already changes nothing.

use test_cluster::{Cluster, DEFAULT_NAME};

use crate::node::lock_own;

#[test]
fn cluster_that_runs_is_left_alone_by_another_start() {
    let Some(node) = lock_own("starting the cluster again") else { return };
    // Found anew: other tests restart the kubelet.
    let before = Cluster::find(DEFAULT_NAME).unwrap().unwrap().processes();
    assert_eq!(before.len(), 6, "{before:?}");
    assert_eq!(Cluster::up(DEFAULT_NAME).unwrap().processes(), before);
    node.wait_for_gpus(8, 8).unwrap();
}
