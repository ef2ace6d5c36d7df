//! Every way in which an API server fails: the labels come when it is back, and until then the reason is told.

use std::time::Duration;

use fake_apiserver::{Fault, Times};

use crate::bench::{Bench, NODE, eventually, timing};

const ONE: &[(&str, &str)] = &[("example.com/a", "1")];
const OTHER: &[(&str, &str)] = &[("example.com/a", "2")];

// Fails if a failed look ends the watcher, or its reason is not published.
#[tokio::test]
async fn f51_f52_server_that_fails_from_the_start_is_told_and_outlasted() {
    for (fault, reason) in [
        (Fault::Down, "api-unreachable"),
        (Fault::code(500), "api-failing"),
        (Fault::code(503), "api-failing"),
        (Fault::code(429), "api-throttled"),
        (Fault::code(403), "api-forbidden"),
        (Fault::Garbage, "api-garbage"),
    ] {
        let mut bench = Bench::idle(timing()).await;
        bench.server.inject(fault, Times::UntilCleared, None);
        bench.run();
        bench.desire(1, ONE);
        bench.trouble(reason).await;
        eventually(&bench.server, "it goes on asking", || bench.server.count("get") > 5).await;
        bench.server.clear_faults();
        bench.applied(1).await;
        assert_eq!(bench.label("example.com/a").as_deref(), Some("1"), "{fault:?}");
    }
}

// Fails if a failed apply is not tried again after a pause.
#[tokio::test]
async fn f51_f52_server_that_fails_for_writes_keeps_the_last_labels_and_takes_the_new_ones_later() {
    for (fault, reason) in [
        (Fault::Down, "api-unreachable"),
        (Fault::code(500), "api-failing"),
        (Fault::code(409), "api-conflict"),
        (Fault::code(422), "api-refused"),
        (Fault::Garbage, "api-garbage"),
    ] {
        let mut bench = Bench::start().await;
        bench.desire(1, ONE);
        bench.applied(1).await;
        bench.server.inject(fault, Times::UntilCleared, Some("patch"));
        bench.desire(2, OTHER);
        let kept = bench.trouble(reason).await;
        assert_eq!(kept.applied, Some(1), "{fault:?}");
        assert_eq!(bench.label("example.com/a").as_deref(), Some("1"), "{fault:?}");
        bench.server.clear_faults();
        bench.applied(2).await;
    }
}

// Fails if requests have no deadline.
#[tokio::test]
async fn f52_server_that_is_too_slow_is_given_up_and_asked_again() {
    let mut bench = Bench::idle(node_api::Timing { answer: Duration::from_millis(300), ..timing() }).await;
    bench.server.inject(Fault::Slow(Duration::from_secs(3600)), Times::Next(1), None);
    bench.run();
    bench.desire(1, ONE);
    bench.trouble("api-timeout").await;
    bench.applied(1).await;
}

// Fails if Retry-After is not read, or the own back-off wins over it.
#[tokio::test]
async fn f52_server_that_asks_for_a_pause_gets_it() {
    let wish = Duration::from_millis(200);
    // The server's second is cut to what a test can wait for.
    let mut bench = Bench::idle(node_api::Timing { max_retry_after: wish, ..timing() }).await;
    bench.server.inject(Fault::Code { code: 429, retry_after: Some(1) }, Times::Next(3), None);
    bench.run();
    bench.desire(1, ONE);
    bench.applied(1).await;
    let at: Vec<_> = bench.server.requests().iter().map(|request| (request.code, request.at)).collect();
    for pair in at.windows(2).filter(|pair| pair[0].0 == 429) {
        assert!(pair[1].1 - pair[0].1 >= wish, "asked again after {:?}", pair[1].1 - pair[0].1);
    }
    assert_eq!(at.iter().filter(|(code, _)| *code == 429).count(), 3);
}

// Fails if a 401 leaves the client with the token that it has.
#[tokio::test]
async fn f56_token_that_expired_is_read_anew() {
    let mut bench = Bench::start().await;
    bench.desire(1, ONE);
    bench.applied(1).await;
    bench.server.set_token("token-2");
    bench.desire(2, OTHER);
    bench.trouble("api-unauthorized").await;
    bench.server.write_kubeconfig(&bench.folder.path().join("kubeconfig")).unwrap();
    bench.applied(2).await;
}

#[tokio::test]
async fn credentials_that_come_late_are_found() {
    let mut bench = Bench::idle(timing()).await;
    let kubeconfig = bench.folder.path().join("kubeconfig");
    std::fs::remove_file(&kubeconfig).unwrap();
    bench.run();
    bench.desire(1, ONE);
    bench.trouble("api-access").await;
    std::fs::write(&kubeconfig, "{ no config").unwrap();
    bench.trouble("api-access").await;
    bench.server.write_kubeconfig(&kubeconfig).unwrap();
    bench.applied(1).await;
}

#[tokio::test]
async fn node_that_comes_late_is_waited_for() {
    let mut bench = Bench::idle(timing()).await;
    bench.server.delete_node(NODE);
    bench.server.inject(Fault::code(500), Times::Next(2), Some("get"));
    bench.run();
    bench.desire(1, ONE);
    bench.trouble("node-not-found").await;
    bench.server.create_node(NODE, &[]);
    bench.applied(1).await;
    assert_eq!(bench.server.count("create"), 0);
}

#[tokio::test]
async fn watch_that_breaks_or_expires_or_is_refused_misses_nothing() {
    let mut bench = Bench::start().await;
    bench.desire(1, ONE);
    bench.applied(1).await;
    for breaking in 0..5 {
        eventually(&bench.server, "a watch is open", || bench.server.watches() == 1).await;
        // While no watch is open, another takes the label away.
        match breaking {
            0 => bench.server.inject(Fault::code(500), Times::Next(2), Some("watch")),
            1 => bench.server.inject(Fault::Garbage, Times::Next(2), Some("watch")),
            2 => bench.server.inject(Fault::Down, Times::Next(2), Some("watch")),
            3 => bench.server.expire_versions(),
            _ => bench.server.refuse_watches(),
        }
        bench.server.cut_watches();
        bench.server.update_labels(NODE, "other", &[("example.com/a", None)]);
        let restored = breaking + 1;
        bench.until(|kept| kept.restored == restored && kept.trouble.is_none()).await;
        assert_eq!(bench.label("example.com/a").as_deref(), Some("1"), "{breaking}");
    }
}

#[tokio::test]
async fn watch_that_is_silent_is_opened_anew_without_a_look() {
    let idle = node_api::Timing { watch_idle: Duration::from_millis(20), ..timing() };
    let mut bench = Bench::idle(idle).await;
    bench.run();
    bench.desire(1, ONE);
    bench.applied(1).await;
    eventually(&bench.server, "it is opened anew", || bench.server.count("watch") > 4).await;
    assert_eq!((bench.server.count("get"), bench.server.count("patch")), (1, 1));
    assert_eq!(bench.kept.borrow().trouble, None);
    bench.server.update_labels(NODE, "other", &[("example.com/a", None)]);
    bench.until(|kept| kept.restored == 1).await;
}
