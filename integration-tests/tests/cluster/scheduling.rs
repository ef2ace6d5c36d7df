//! The node shows its GPUs, and the scheduler hands each out once.

use crate::node::lock;
use crate::pod::{Order, Pod, gpu_nodes};

#[test]
fn node_with_the_plugin_shows_eight_gpus() {
    // lock() waits for them; a fresh look must find the same.
    let node = lock();
    assert_eq!(node.amounts(crate::node::GPU).unwrap(), (8, 8));
}

#[test]
fn two_pods_with_four_gpus_each_share_none_and_a_third_waits() {
    let node = lock();
    let order = |name| Order { name, gpus: 4, hold: true, ..Order::default() };
    let first = Pod::create(&node, &order("first")).unwrap();
    let second = Pod::create(&node, &order("second")).unwrap();
    first.wait_for("Running").unwrap();
    second.wait_for("Running").unwrap();
    let (a, b) = (gpu_nodes(&first.report().unwrap()), gpu_nodes(&second.report().unwrap()));
    assert_eq!((a.len(), b.len()), (4, 4), "{a:?} {b:?}");
    assert!(a.is_disjoint(&b), "{a:?} {b:?}");

    let third = Pod::create(&node, &Order { name: "third", gpus: 1, ..Order::default() }).unwrap();
    let reason = third.wait_for_refusal().unwrap();
    assert!(reason.contains("Insufficient nvidia.com/gpu"), "{reason}");
    drop(first);
    third.wait_for("Succeeded").unwrap();
}
