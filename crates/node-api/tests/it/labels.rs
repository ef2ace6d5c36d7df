//! What reaches the Node, what stays, and what is put back.

use node_api::{Field, Refusal, remove_labels};

use crate::bench::{Bench, MANAGER, NODE, eventually};

const TWO: &[(&str, &str)] = &[("nvidia.com/gpu.count", "2"), ("nvidia.com/gpu.product", "A100")];

#[tokio::test]
async fn node_that_shows_its_labels_is_written_to_no_more() {
    let mut bench = Bench::start().await;
    bench.desire(1, TWO);
    bench.applied(1).await;
    assert_eq!(bench.label("nvidia.com/gpu.product").as_deref(), Some("A100"));
    assert_eq!(bench.server.annotations(NODE)["example.com/note"], "of ours");
    // The kubelet's life goes on; the server ends its watches now and then.
    for round in 0..40 {
        let beat = round.to_string();
        bench.server.update_annotations(NODE, "kubelet", &[("kubelet/heartbeat", Some(&beat))]);
        bench.server.bookmark();
        if round % 10 == 9 {
            let node = bench.node.clone();
            eventually(&bench.server, "heartbeat is seen", || {
                let seen = node.borrow().view.clone();
                seen.is_some_and(|view| view.annotation("kubelet/heartbeat") == Some(&beat))
            })
            .await;
            bench.server.end_watches();
            eventually(&bench.server, "a watch is open", || bench.server.watches() == 1).await;
        }
    }
    // A further wish that is the same one is seen through without a request.
    bench.desire(2, TWO);
    bench.applied(2).await;
    assert_eq!(bench.server.count("patch"), 1);
    assert_eq!(bench.server.count("get"), 1);
    assert_eq!(bench.server.count("watch"), 5);
    let patched = bench.cluster.requests().counts().into_iter().filter(|(kind, _)| kind.verb == "patch");
    assert_eq!(
        patched.map(|(kind, count)| (kind.outcome, count)).collect::<Vec<_>>(),
        [("200".to_owned(), 1)]
    );
}

#[tokio::test]
async fn nothing_is_written_before_something_is_desired() {
    let bench = Bench::start().await;
    eventually(&bench.server, "a watch is open", || bench.server.watches() == 1).await;
    bench.server.update_labels(NODE, "kubelet", &[("a", Some("b"))]);
    let node = bench.node.clone();
    eventually(&bench.server, "the change is seen", || {
        let seen = node.borrow().view.clone();
        seen.is_some_and(|view| view.label("a") == Some("b"))
    })
    .await;
    assert_eq!(bench.server.count("patch"), 0);
}

#[tokio::test]
async fn labels_that_are_no_longer_wanted_go_and_no_others() {
    let mut bench = Bench::start().await;
    bench.server.update_labels(NODE, "someone", &[("nvidia.com/foreign", Some("kept"))]);
    bench.desire(1, TWO);
    bench.applied(1).await;
    bench.desire(2, &TWO[..1]);
    bench.applied(2).await;
    let labels = bench.server.labels(NODE);
    let keys: Vec<&str> = labels.keys().map(String::as_str).collect();
    assert_eq!(keys, ["kubernetes.io/os", "nvidia.com/foreign", "nvidia.com/gpu.count"]);
}

#[tokio::test]
async fn label_that_another_deletes_comes_back_each_time() {
    let mut bench = Bench::start().await;
    bench.desire(1, TWO);
    bench.applied(1).await;
    for round in 1..=4 {
        bench.server.update_labels(NODE, "nfd-master", &[("nvidia.com/gpu.count", None)]);
        bench.until(|kept| kept.restored == round).await;
        assert_eq!(bench.label("nvidia.com/gpu.count").as_deref(), Some("2"));
    }
    assert_eq!(bench.server.count("patch"), 5);
}

// Fails if a conflict fails the whole apply, the apply is forced, or the key is never tried again.
#[tokio::test]
async fn f53_label_that_another_changes_is_left_to_it_until_it_is_free() {
    let mut bench = Bench::start().await;
    bench.desire(1, TWO);
    bench.applied(1).await;
    bench.server.update_labels(NODE, "kubectl-label", &[("nvidia.com/gpu.count", Some("7"))]);
    let field = Field::Label("nvidia.com/gpu.count".to_owned());
    let kept = bench.until(|kept| kept.refused.contains_key(&field)).await;
    assert_eq!(kept.refused[&field], Refusal::Owned { by: "kubectl-label".to_owned() });
    assert_eq!(bench.label("nvidia.com/gpu.count").as_deref(), Some("7"));
    assert_eq!(bench.label("nvidia.com/gpu.product").as_deref(), Some("A100"));
    eventually(&bench.server, "an event tells it", || {
        !bench.server.objects("/apis/events.k8s.io/").is_empty()
    })
    .await;
    let event = &bench.server.objects("/apis/events.k8s.io/")[0];
    assert_eq!((&event["reason"], &event["regarding"]["name"]), (&"KeyConflict".into(), &NODE.into()));
    assert!(event["note"].as_str().unwrap().contains("\"kubectl-label\""), "{event}");
    bench.server.update_labels(NODE, "kubectl-label", &[("nvidia.com/gpu.count", None)]);
    bench.until(|kept| kept.refused.is_empty()).await;
    assert_eq!(bench.label("nvidia.com/gpu.count").as_deref(), Some("2"));
    assert!(bench.server.requests().iter().all(|request| !request.query.contains_key("force")));
}

// Fails if labels are taken off at the end, or applied without a look at the Node.
#[tokio::test]
async fn f55_labels_survive_a_kill_and_the_next_start_writes_nothing() {
    let mut bench = Bench::start().await;
    bench.desire(1, TWO);
    bench.applied(1).await;
    bench.kill().await;
    assert_eq!(bench.label("nvidia.com/gpu.count").as_deref(), Some("2"));
    bench.run();
    bench.applied(1).await;
    assert_eq!(bench.server.count("patch"), 1);
}

// Fails if a deletion is not taken in, or an apply names no uid.
#[tokio::test]
async fn f54_node_that_is_deleted_and_created_again_is_labelled_again() {
    let mut bench = Bench::start().await;
    bench.desire(1, TWO);
    bench.applied(1).await;
    bench.server.delete_node(NODE);
    bench.trouble("node-not-found").await;
    bench.desire(2, &TWO[..1]);
    bench.server.create_node(NODE, &[]);
    bench.applied(2).await;
    assert_eq!(bench.label("nvidia.com/gpu.count").as_deref(), Some("2"));
    // An apply that names no uid would create a Node, if it came after a deletion.
    let mut patches = bench.server.requests().into_iter().filter(|request| request.verb == "patch");
    assert!(patches.all(|request| request.body["metadata"]["uid"].is_string()));
}

#[tokio::test]
async fn uninstallation_takes_its_keys_and_leaves_what_another_holds_too() {
    let mut bench = Bench::start().await;
    bench.desire(1, TWO);
    bench.applied(1).await;
    bench.kill().await;
    let other = fake_apiserver::conformance::Client::new(fake_apiserver::conformance::Target {
        address: bench.server.address(),
        token: Some("token-1".to_owned()),
    });
    let body = serde_json::json!({ "metadata": { "labels": { "nvidia.com/gpu.count": "2" } } });
    let path = format!("/api/v1/nodes/{NODE}?fieldManager=other");
    other.send("PATCH application/apply-patch+yaml", &path, &body, true).await.unwrap();
    let removed = remove_labels(&bench.cluster, NODE, MANAGER).await.unwrap();
    assert_eq!(removed.left_to_others, [Field::Label("nvidia.com/gpu.count".to_owned())].into());
    assert_eq!(removed.gone.len(), 2, "{removed:?}");
    let labels = bench.server.labels(NODE);
    let keys: Vec<&str> = labels.keys().map(String::as_str).collect();
    assert_eq!(keys, ["kubernetes.io/os", "nvidia.com/gpu.count"]);
    let again = remove_labels(&bench.cluster, NODE, MANAGER).await.unwrap();
    assert!(again.gone.is_empty() && again.left_to_others.is_empty());
    assert!(remove_labels(&bench.cluster, "absent", MANAGER).await.is_ok());
}
