//! A kubelet that knows a plugin by its resource alone, as those before 1.37 do.

use std::time::Duration;

use fake_kubelet::Event;

use crate::node::{Node, RESOURCE};

const DEVICES: [(&str, Option<i64>); 2] = [("a", None), ("b", None)];

fn endpoints(node: &Node) -> Vec<String> {
    node.kubelet.resources().resources[RESOURCE].endpoints.clone()
}

#[tokio::test]
async fn end_of_the_older_stream_takes_the_newer_plugin_off_until_it_registers_again() {
    let mut node = Node::with(&DEVICES, |builder| builder.tracking_by_resource()).await;
    let older = node.another_plugin();
    node.register().await;
    assert_eq!(endpoints(&node), ["plugin-1.sock", "plugin-2.sock"]);
    drop(older);
    // The newer one's connection is closed, and nobody calls it back.
    node.until(|node| endpoints(node).is_empty()).await;
    node.until(|node| node.amounts() == (2, 0)).await;
    assert!(
        node.told(
            |event| matches!(event, Event::Disconnected { endpoint, .. } if endpoint == "plugin-2.sock")
        )
    );
    assert!(node.admit("pod", "main", 1).await.is_err());
    node.register().await;
    node.until(|node| node.amounts() == (2, 2)).await;
    assert_eq!(node.admit("pod", "main", 2).await.unwrap(), ["a", "b"]);
    node.lose();
    node.until(|node| node.amounts() == (2, 0)).await;
}

#[tokio::test]
async fn plugin_that_is_not_there_hides_the_end_of_the_one_that_was() {
    let mut node = Node::with(&DEVICES, |builder| {
        builder.tracking_by_resource().dial_timeout(Duration::from_millis(50))
    })
    .await;
    assert!(node.register_at("nobody.sock").await.is_err());
    node.lose();
    node.until(|node| endpoints(node).is_empty()).await;
    assert_eq!(node.amounts(), (2, 2));
}
