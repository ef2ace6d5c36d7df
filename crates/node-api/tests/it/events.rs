//! Events of the Node: each once, whatever the server does, and never in the way.

use fake_apiserver::{Fault, Times};
use node_api::{Events, Happening, Kind, Reporter, Timing};

use crate::bench::{Bench, NODE, eventually, timing};

const ALL: &str = "/apis/events.k8s.io/v1/namespaces/default/events/";

fn happening(note: &str) -> Happening {
    Happening { kind: Kind::Warning, reason: "Trial", action: "Try", note: note.to_owned() }
}

#[tokio::test]
async fn event_is_written_once_and_survives_a_server_that_fails_twice() {
    let bench = Bench::idle(timing()).await;
    let (events, writer) =
        Events::new(bench.cluster.clone(), NODE, Reporter::new("gantry.dev/test", "pod-1"));
    let writer = tokio::spawn(writer.run());
    bench.server.inject(Fault::code(503), Times::Next(1), Some("create"));
    bench.server.inject(Fault::Down, Times::Next(1), Some("create"));
    for note in ["a", "a", "b", "a"] {
        events.tell(happening(note));
    }
    // One that the API server cuts nothing off.
    events.tell(happening(&"\u{fc}".repeat(2000)));
    drop(events);
    writer.await.unwrap();
    let events = bench.server.objects(ALL);
    let mut lengths: Vec<usize> = events.iter().map(|event| event["note"].as_str().unwrap().len()).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, [1, 1, 1024]);
    let first = &events[0];
    assert_eq!(
        (&first["type"], &first["reportingController"]),
        (&"Warning".into(), &"gantry.dev/test".into())
    );
}

#[tokio::test]
async fn many_events_are_spaced_and_what_is_refused_is_dropped() {
    let spaced = Timing { event_spacing: std::time::Duration::from_secs(3600), ..timing() };
    let bench = Bench::idle(spaced).await;
    let (events, writer) =
        Events::new(bench.cluster.clone(), NODE, Reporter::new("gantry.dev/test", "pod-1"));
    let writer = tokio::spawn(writer.run());
    bench.server.inject(Fault::code(403), Times::Next(1), Some("create"));
    for note in 0..1000 {
        events.tell(happening(&note.to_string()));
    }
    eventually(&bench.server, "the burst is written", || bench.server.count("create") >= 10).await;
    // Time for as many requests more.
    for _ in 0..20 {
        node_api::remove_labels(&bench.cluster, "absent", "gantry-test").await.unwrap();
    }
    assert_eq!((bench.server.count("create"), bench.server.objects(ALL).len()), (10, 9));
    writer.abort();
}
