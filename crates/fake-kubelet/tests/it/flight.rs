//! What happens while a call is in flight: releases, restarts, plugins that do not answer, sockets that go.

use std::{
    fs,
    os::unix::net::UnixListener,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fake_kubelet::{AdmissionError, FakeKubelet};
use kubelet_api::deviceplugin::{VERSION, v1beta1::RegisterRequest};
use tokio::io::AsyncReadExt;

use crate::node::{Node, RESOURCE, registrar};

const PATIENCE: Duration = Duration::from_secs(20);

type Admission = tokio::task::JoinHandle<Result<Vec<String>, AdmissionError>>;

/// An admission whose `Allocate` hangs.
async fn hanging(node: &Node, pod: &'static str) -> Admission {
    node.answer_allocate(false);
    let kubelet = node.kubelet.clone();
    let admission = tokio::spawn(async move {
        kubelet.allocate(pod, "main", RESOURCE, 1).await.map(|allocation| allocation.devices)
    });
    node.until(Node::allocate_hangs).await;
    admission
}

#[tokio::test]
async fn release_of_another_pod_during_allocate_leaves_its_devices_taken() {
    let node = Node::new(&[("a", None), ("b", None)]).await;
    node.admit("old", "main", 1).await.unwrap();
    let slow = hanging(&node, "slow").await;
    assert!(node.kubelet.release("old"));
    node.answer_allocate(true);
    slow.await.unwrap().unwrap();
    let resource = RESOURCE.to_owned();
    assert_eq!(
        node.admit("next", "main", 2).await.unwrap_err(),
        AdmissionError::Unavailable { resource, needed: 2, available: 1 }
    );
    node.admit("next", "main", 1).await.unwrap();
}

#[tokio::test]
async fn restart_during_a_hanging_allocate_breaks_the_call() {
    let mut node = Node::new(&[("a", None)]).await;
    let slow = hanging(&node, "slow").await;
    tokio::time::timeout(PATIENCE, node.kubelet.restart()).await.unwrap().unwrap();
    let broken = slow.await.unwrap().unwrap_err();
    assert!(matches!(broken, AdmissionError::Call { call: "Allocate", .. }), "{broken}");
    node.answer_allocate(true);
    node.register().await;
    assert_eq!(node.admit("next", "main", 1).await.unwrap(), ["a"]);
}

#[tokio::test]
async fn streams_dropped_during_a_hanging_allocate_break_the_call() {
    let node = Node::new(&[("a", None)]).await;
    let slow = hanging(&node, "slow").await;
    assert_eq!(node.kubelet.drop_streams(RESOURCE).await, 1);
    let broken = tokio::time::timeout(PATIENCE, slow).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(&broken, AdmissionError::Call { code, .. } if code == "Cancelled"), "{broken}");
}

#[tokio::test]
async fn restarts_at_once_leave_one_kubelet_that_runs() {
    let mut node = Node::new(&[("a", None)]).await;
    let restarts: Vec<_> = (0..4)
        .map(|_| {
            let kubelet = node.kubelet.clone();
            tokio::spawn(async move { kubelet.restart().await })
        })
        .collect();
    for restart in restarts {
        restart.await.unwrap().unwrap();
    }
    node.register().await;
    assert_eq!(node.kubelet.resources().starts, 5);
}

#[tokio::test]
async fn start_that_is_cancelled_leaves_nobody_listening() {
    let dir = tempfile::tempdir().unwrap();
    let builder = FakeKubelet::builder(dir.path().join("device-plugins")).listen_gap(PATIENCE);
    let socket = dir.path().join("device-plugins/kubelet.sock");
    tokio::select! {
        _ = builder.start() => unreachable!("it listens only after the test's patience"),
        () = async {
            let mut poll = tokio::time::interval(Duration::from_millis(1));
            while !socket.exists() {
                poll.tick().await;
            }
        } => {}
    }
    assert!(registrar(&socket).await.is_err());
}

#[tokio::test]
async fn plugin_that_accepts_and_is_silent_is_hung_up_on() {
    let dir = tempfile::tempdir().unwrap();
    let builder = FakeKubelet::builder(dir.path().join("device-plugins"));
    let kubelet = builder.dial_timeout(Duration::from_millis(200)).start().await.unwrap();
    let silent = tokio::net::UnixListener::bind(kubelet.dir().join("silent.sock")).unwrap();
    let request = RegisterRequest {
        version: VERSION.to_owned(),
        endpoint: "silent.sock".to_owned(),
        resource_name: RESOURCE.to_owned(),
        options: None,
    };
    let mut registrar = registrar(&kubelet.socket()).await.unwrap();
    let both = async { tokio::join!(registrar.register(request), silent.accept()) };
    let (refused, accepted) = tokio::time::timeout(PATIENCE, both).await.unwrap();
    assert!(refused.unwrap_err().message().contains("silent.sock"));
    let (mut stream, _) = accepted.unwrap();
    let mut said = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said)).await.unwrap().unwrap();
}

#[tokio::test]
async fn start_while_sockets_come_and_go_succeeds() {
    let dir = tempfile::tempdir().unwrap();
    let kubelet = FakeKubelet::start(dir.path().join("device-plugins")).await.unwrap();
    let socket = kubelet.dir().join("brief.sock");
    let ends = Arc::new(AtomicBool::new(false));
    let churn = std::thread::spawn({
        let ends = Arc::clone(&ends);
        move || {
            while !ends.load(Ordering::Relaxed) {
                let bound = UnixListener::bind(&socket);
                let _ = fs::remove_file(&socket);
                drop(bound);
            }
        }
    });
    for _ in 0..100 {
        kubelet.restart().await.unwrap();
    }
    ends.store(true, Ordering::Relaxed);
    churn.join().unwrap();
}
