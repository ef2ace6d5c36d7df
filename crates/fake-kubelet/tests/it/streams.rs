//! Streams that the kubelet drops while it stays up, and those that it never opens.

use fake_kubelet::{Event, PodRequest};

use crate::node::{Node, RESOURCE};

const DEVICES: [(&str, Option<i64>); 2] = [("a", None), ("b", None)];

fn is_dropped(event: &Event) -> bool {
    matches!(event, Event::Disconnected { reason, .. } if reason == "the kubelet dropped the stream")
}

#[tokio::test]
async fn streams_dropped_leave_the_devices_unhealthy_and_the_kubelet_up() {
    let mut node = Node::new(&DEVICES).await;
    let first = node.kubelet.resources().resources[RESOURCE].endpoints.clone();
    let held = node.admit("pod", "main", 1).await.unwrap();
    assert_eq!(node.kubelet.drop_streams(RESOURCE).await, 1);
    // All of it at once: as in the real kubelet, the books know when the connection is closed.
    assert_eq!(node.amounts(), (2, 0));
    assert!(node.told(is_dropped));
    assert!(node.kubelet.resources().resources[RESOURCE].endpoints.is_empty());
    assert_eq!(node.kubelet.resources().pods[0].holdings[0].devices, held);
    // Nothing is left to drop, and the same socket is taken again.
    assert_eq!(node.kubelet.drop_streams(RESOURCE).await, 0);
    node.register_at(&first[0]).await.unwrap();
    node.until(|node| node.amounts() == (2, 2)).await;
    node.register().await;
    assert_eq!(node.kubelet.drop_streams(RESOURCE).await, 2);
    assert_eq!((node.amounts(), node.kubelet.resources().starts), ((2, 0), 1));
}

#[tokio::test]
async fn streams_of_another_resource_are_not_dropped() {
    let node = Node::new(&DEVICES).await;
    assert_eq!(node.kubelet.drop_streams("example.com/other").await, 0);
    assert_eq!(node.amounts(), (2, 2));
}

#[tokio::test]
async fn streams_withheld_register_a_plugin_whose_list_never_comes() {
    let mut node = Node::with_unlisted(&DEVICES, |builder| builder.without_streams()).await;
    assert!(node.told(|event| matches!(event, Event::Registered { .. })));
    let endpoint = node.kubelet.resources().resources[RESOURCE].endpoints.clone();
    assert_eq!((node.amounts(), node.lists_opened()), ((0, 0), 0));
    assert!(node.kubelet.allocate("pod", "main", RESOURCE, 1).await.is_err());
    // As with every connected plugin: its socket is not taken twice.
    assert!(node.register_at(&endpoint[0]).await.is_err());
    node.register_unlisted().await;
    node.kubelet.open_streams();
    node.until(|node| node.amounts() == (2, 2)).await;
    // What is open stays so.
    node.kubelet.withhold_streams();
    node.list(crate::node::list(&[("a", None)]));
    node.until(|node| node.amounts() == (1, 1)).await;
    assert_eq!(
        node.kubelet.admit(&PodRequest::new("pod", "main", RESOURCE, 1)).await.unwrap().devices,
        ["a"]
    );
}

#[tokio::test]
async fn stream_withheld_is_dropped_like_an_open_one() {
    let node = Node::with_unlisted(&DEVICES, |builder| builder.without_streams()).await;
    assert_eq!(node.kubelet.drop_streams(RESOURCE).await, 1);
    assert!(node.told(is_dropped));
    assert_eq!(node.lists_opened(), 0);
}
