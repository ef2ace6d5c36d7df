//! Which devices are chosen where a cluster test cannot look: NUMA alignment, init containers, re-admission, restarts.

use std::collections::{BTreeMap, BTreeSet};

use fake_kubelet::{AdmissionError, PodRequest};
use proptest::prelude::*;

use crate::node::{Node, RESOURCE, list, registrar, set};

const TWO_NODES: [(&str, Option<i64>); 5] =
    [("a", Some(0)), ("b", Some(0)), ("c", Some(1)), ("d", Some(1)), ("e", None)];

fn on(numa: i64, pod: &str, count: usize) -> PodRequest {
    PodRequest { numa: Some(BTreeSet::from([numa])), ..PodRequest::new(pod, "main", RESOURCE, count) }
}

#[tokio::test]
async fn numa_wanted_and_enough_is_the_only_node_offered() {
    let node = Node::new(&TWO_NODES).await;
    let allocation = node.kubelet.admit(&on(1, "one", 1)).await.unwrap();
    assert_eq!(allocation.devices, ["c"]);
    assert_eq!(node.asked(), [(set(&["c", "d"]), set(&[]))]);
}

#[tokio::test]
async fn numa_wanted_exactly_used_up_asks_nobody() {
    let node = Node::new(&TWO_NODES).await;
    assert_eq!(node.kubelet.admit(&on(1, "two", 2)).await.unwrap().devices, ["c", "d"]);
    assert_eq!(node.asked(), []);
}

#[tokio::test]
async fn numa_wanted_and_too_few_is_taken_whole_before_the_plugin_is_asked() {
    let node = Node::new(&TWO_NODES).await;
    let devices = node.kubelet.admit(&on(1, "three", 3)).await.unwrap().devices;
    assert!(devices.contains(&"c".to_owned()) && devices.contains(&"d".to_owned()), "{devices:?}");
    assert_eq!(node.asked(), [(set(&["a", "b", "c", "d", "e"]), set(&["c", "d"]))]);
}

#[tokio::test]
async fn init_container_devices_are_reused_and_not_taken_for_double() {
    let node = Node::new(&TWO_NODES).await;
    let init = PodRequest { init: true, ..PodRequest::new("pod", "init", RESOURCE, 3) };
    let first: BTreeSet<String> = node.kubelet.admit(&init).await.unwrap().devices.into_iter().collect();
    let main: BTreeSet<String> = node.admit("pod", "main", 2).await.unwrap().into_iter().collect();
    assert!(main.is_subset(&first), "{main:?} of {first:?}");
    let side: BTreeSet<String> = node.admit("pod", "side", 2).await.unwrap().into_iter().collect();
    assert!(main.is_disjoint(&side), "{main:?} and {side:?}");
    // The init container's third device is either reused or still its pod's.
    assert_eq!(node.admit("other", "main", 2).await.unwrap_err(), unavailable(2, 1));
}

fn unavailable(needed: usize, available: usize) -> AdmissionError {
    AdmissionError::Unavailable { resource: RESOURCE.to_owned(), needed, available }
}

#[tokio::test]
async fn container_restarted_gets_its_first_answer_without_a_call() {
    let mut node = Node::new(&TWO_NODES).await;
    let first = node.kubelet.allocate("pod", "main", RESOURCE, 2).await.unwrap();
    node.lose();
    node.until(|node| node.amounts().1 == 0).await;
    let again = node.kubelet.restart_container("pod", "main", RESOURCE).await.unwrap();
    assert_eq!((again.devices, again.injection, again.allocate_took), (first.devices, first.injection, None));
}

#[tokio::test]
async fn pod_admitted_anew_needs_its_devices_healthy() {
    let mut node = Node::new(&[("a", None), ("b", None)]).await;
    let held = node.admit("pod", "main", 1).await.unwrap();
    assert_eq!(node.admit("pod", "main", 1).await.unwrap(), held);
    let other = if held == ["a"] { "b" } else { "a" };
    node.list(list(&[(other, None)]));
    node.until(|node| node.amounts() == (1, 1)).await;
    let resource = RESOURCE.to_owned();
    assert_eq!(
        node.admit("pod", "main", 1).await.unwrap_err(),
        AdmissionError::HeldUnhealthy { resource: resource.clone() }
    );
    node.lose();
    node.until(|node| node.amounts() == (1, 0)).await;
    assert_eq!(node.admit("pod", "main", 1).await.unwrap_err(), AdmissionError::NoneHealthy { resource });
}

#[tokio::test]
async fn kubelet_dropped_listens_no_more() {
    for _ in 0..20 {
        let node = Node::new(&[("a", None)]).await;
        let socket = node.kubelet.socket();
        let Node { kubelet, dir: _dir, .. } = node;
        drop(kubelet);
        assert!(std::os::unix::net::UnixStream::connect(&socket).is_err());
    }
}

#[tokio::test]
async fn kubelet_stopped_admits_nothing_and_keeps_what_pods_hold() {
    let mut node = Node::new(&[("a", None), ("b", None)]).await;
    let held = node.admit("pod", "main", 1).await.unwrap();
    node.kubelet.stop().await;
    assert_eq!(node.admit("late", "main", 1).await.unwrap_err(), AdmissionError::NotRunning);
    assert!(registrar(&node.kubelet.socket()).await.is_err());
    assert!(node.kubelet.socket().exists(), "a killed kubelet leaves its socket's file");
    node.kubelet.restart().await.unwrap();
    assert_eq!(node.amounts(), (0, 0));
    assert_eq!(
        node.admit("late", "main", 1).await.unwrap_err(),
        AdmissionError::NoneHealthy { resource: RESOURCE.to_owned() }
    );
    node.register().await;
    let late = node.admit("late", "main", 1).await.unwrap();
    assert_ne!(held, late);
    assert!(node.dir.path().join("device-plugins/kubelet_internal_checkpoint").is_file());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever pods come and go, each gets what it asked for, and no device is held twice.
    #[test]
    fn devices_in_any_course_of_pods_are_held_once(
        course in proptest::collection::vec((0_u8..6, 1_usize..4, proptest::option::of(0_i64..2), any::<bool>()), 1..20)
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let node = Node::new(&TWO_NODES).await;
            let mut held: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for (pod, count, numa, release) in course {
                let pod = format!("pod-{pod}");
                if release || held.contains_key(&pod) {
                    let known = held.remove(&pod).is_some();
                    prop_assert_eq!(node.kubelet.release(pod.as_str()), known);
                    continue;
                }
                let free = 5 - held.values().map(Vec::len).sum::<usize>();
                let request = PodRequest {
                    numa: numa.map(|node| BTreeSet::from([node])),
                    ..PodRequest::new(pod.as_str(), "main", RESOURCE, count)
                };
                match node.kubelet.admit(&request).await {
                    Ok(allocation) => {
                        prop_assert_eq!(allocation.devices.len(), count);
                        held.insert(pod, allocation.devices);
                    }
                    Err(error) => {
                        prop_assert!(count > free, "{error} with {free} free");
                        prop_assert_eq!(error, unavailable(count, free));
                    }
                }
                let all: Vec<&String> = held.values().flatten().collect();
                let distinct: BTreeSet<&String> = all.iter().copied().collect();
                prop_assert_eq!(all.len(), distinct.len());
            }
            Ok(())
        })?;
    }
}
