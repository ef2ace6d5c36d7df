//! Keys that the API server refuses: they are left out and the others go.

use std::time::Duration;

use node_api::{Field, Refusal, Timing};

use crate::bench::{Bench, eventually, timing};

#[tokio::test]
async fn bad_value_costs_its_own_label_alone() {
    let mut bench = Bench::start().await;
    bench.desire(1, &[("example.com/good", "yes"), ("example.com/bad", "not good!")]);
    let kept = bench.applied(1).await;
    let bad = Field::Label("example.com/bad".to_owned());
    assert!(matches!(&kept.refused[&bad], Refusal::Denied { message } if message.contains("not good!")));
    assert_eq!(bench.label("example.com/good").as_deref(), Some("yes"));
    bench.desire(2, &[("example.com/good", "yes"), ("example.com/bad", "mended")]);
    assert!(bench.applied(2).await.refused.is_empty());
    assert_eq!(bench.label("example.com/bad").as_deref(), Some("mended"));
}

#[tokio::test]
async fn key_that_a_policy_denies_is_tried_again_when_the_policy_may_be_gone() {
    for code in [403, 422] {
        let mut bench = Bench::start().await;
        bench.server.deny_key("example.com/denied", code, "denied by policy");
        bench.desire(1, &[("example.com/denied", "1"), ("example.com/denied.not", "2")]);
        let kept = bench.applied(1).await;
        assert_eq!(kept.refused.keys().map(Field::key).collect::<Vec<_>>(), ["example.com/denied"]);
        assert_eq!(bench.label("example.com/denied.not").as_deref(), Some("2"));
        let before = bench.server.count("patch");
        eventually(&bench.server, "it is tried again", || bench.server.count("patch") > before).await;
        bench.server.clear_denials();
        bench.until(|kept| kept.refused.is_empty() && kept.trouble.is_none()).await;
        assert_eq!(bench.label("example.com/denied").as_deref(), Some("1"));
    }
}

// Fails if a refused key is tried again at each change of the Node.
#[tokio::test]
async fn f53_key_of_another_manager_from_the_start_costs_two_requests_and_no_more() {
    let mut bench = Bench::start().await;
    bench.server.update_labels("node-1", "other", &[("example.com/theirs", Some("a"))]);
    bench.desire(1, &[("example.com/theirs", "b"), ("example.com/ours", "c")]);
    let kept = bench.applied(1).await;
    assert_eq!(kept.refused.len(), 1);
    assert_eq!(bench.label("example.com/ours").as_deref(), Some("c"));
    // What concerns another key wakes it, and changes nothing.
    bench.server.update_labels("node-1", "other", &[("example.com/unrelated", Some("a"))]);
    bench.desire(2, &[("example.com/theirs", "b"), ("example.com/ours", "c")]);
    bench.applied(2).await;
    let codes: Vec<u16> =
        bench.server.requests().iter().filter(|it| it.verb == "patch").map(|it| it.code).collect();
    assert_eq!(codes, [409, 200]);
    // Once the other agrees, the key is held by both.
    bench.desire(3, &[("example.com/theirs", "a"), ("example.com/ours", "c")]);
    assert!(bench.applied(3).await.refused.is_empty());
}

#[tokio::test]
async fn key_that_goes_to_and_fro_is_not_set_at_each_turn() {
    let hour = Duration::from_secs(3600);
    let mut bench = Bench::idle(Timing { restore_first: hour, restore_max: hour, ..timing() }).await;
    bench.run();
    bench.desire(1, &[("example.com/a", "1")]);
    bench.applied(1).await;
    bench.server.update_labels("node-1", "other", &[("example.com/a", Some("theirs"))]);
    bench.until(|kept| !kept.refused.is_empty()).await;
    bench.server.update_labels("node-1", "other", &[("example.com/a", None)]);
    bench.trouble("restoring-slowly").await;
    assert_eq!((bench.label("example.com/a"), bench.server.count("patch")), (None, 2));
    // A new wish doesn't wait for that.
    bench.desire(2, &[("example.com/a", "2")]);
    bench.applied(2).await;
}
