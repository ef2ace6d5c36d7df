//! What becomes of a resource whose plugin does not come back, and of the sockets at a start.

use std::{fs, time::Duration};

use fake_kubelet::{Event, FakeKubelet};

use crate::node::{Node, RESOURCE, registrar};

#[tokio::test]
async fn resource_without_plugin_is_forgotten_after_the_grace_period() {
    let mut node =
        Node::with(&[("a", None), ("b", None)], |builder| builder.grace(Duration::from_millis(300))).await;
    node.lose();
    node.until(|node| node.told(|event| matches!(event, Event::Disconnected { .. }))).await;
    node.until(|node| node.amounts() == (0, 0)).await;
    // Its zero stays, and so does the way back.
    assert!(node.kubelet.resources().resources.contains_key(RESOURCE));
    node.register().await;
    assert_eq!(node.amounts(), (2, 2));
}

#[tokio::test]
async fn checkpoint_absent_forgets_resources_and_pods() {
    let dir = tempfile::tempdir().unwrap();
    let kubelet =
        FakeKubelet::builder(dir.path().join("device-plugins")).without_checkpoint().start().await.unwrap();
    kubelet.restart().await.unwrap();
    let state = kubelet.resources();
    assert_eq!((state.starts, state.resources.len(), state.pods.len()), (2, 0, 0));
}

#[tokio::test]
async fn checkpoint_damaged_is_taken_for_empty() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("device-plugins");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("kubelet_internal_checkpoint"), "{\"registered\":").unwrap();
    assert!(FakeKubelet::start(&folder).await.unwrap().resources().resources.is_empty());
}

#[tokio::test]
async fn socket_path_too_long_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("x".repeat(120));
    let error = FakeKubelet::start(&folder).await.err().unwrap();
    assert!(error.source.to_string().contains("xxx/kubelet.sock"), "{}", error.source);
}

#[tokio::test]
async fn listen_gap_refuses_connections_while_the_socket_exists() {
    let dir = tempfile::tempdir().unwrap();
    let builder = FakeKubelet::builder(dir.path().join("device-plugins")).listen_gap(Duration::from_secs(2));
    let socket = dir.path().join("device-plugins/kubelet.sock");
    let starting = tokio::spawn(builder.start());
    let mut poll = tokio::time::interval(Duration::from_millis(1));
    while !socket.exists() {
        assert!(!starting.is_finished(), "started before its socket existed");
        poll.tick().await;
    }
    assert!(registrar(&socket).await.is_err());
    let kubelet = starting.await.unwrap().unwrap();
    registrar(&socket).await.unwrap();
    assert_eq!(kubelet.log()[0].event, Event::Started { starts: 1 });
}

#[tokio::test]
async fn plugin_not_serving_is_refused_when_the_dial_times_out() {
    let dir = tempfile::tempdir().unwrap();
    let kubelet = FakeKubelet::builder(dir.path().join("device-plugins"))
        .dial_timeout(Duration::from_millis(200))
        .start()
        .await
        .unwrap();
    let request = kubelet_api::deviceplugin::v1beta1::RegisterRequest {
        version: "v1beta1".to_owned(),
        endpoint: "nobody.sock".to_owned(),
        resource_name: RESOURCE.to_owned(),
        options: None,
    };
    let status = registrar(&kubelet.socket()).await.unwrap().register(request).await.unwrap_err();
    assert!(status.message().contains("nobody.sock"), "{status}");
    assert!(matches!(kubelet.log().last().unwrap().event, Event::RegistrationRefused { .. }));
}
