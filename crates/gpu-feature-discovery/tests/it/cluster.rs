//! Labels and the NodeFeature object on a fake API server, by the shipped program.

use std::time::Duration;

use fake_apiserver::{FakeApiServer, Fault, Times};
use sim_node::{Process, Signal, SimNode};

use crate::harness::{bare, run, start_with};

const NODE: &str = "node-1";
const COUNT: &str = "nvidia.com/gpu.count";
const FOREIGN: &str = "example.com/rack";
const OBJECT: &str =
    "/apis/nfd.k8s-sigs.io/v1alpha1/namespaces/gantry-system/nodefeatures/gantry-features-for-node-1";
const WHY: &str = "gantry.dev/gpu-feature-discovery.driver";

struct Cluster {
    server: FakeApiServer,
    flags: Vec<String>,
}

impl Cluster {
    async fn start(node: &SimNode) -> Cluster {
        let server = FakeApiServer::start().await.unwrap();
        server.create_node(NODE, &[(FOREIGN, "r1")]);
        let kubeconfig = node.dir().join("kubeconfig");
        server.write_kubeconfig(&kubeconfig).unwrap();
        let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
        let words = ["--node-name=node-1", "--namespace=gantry-system", &kubeconfig];
        Cluster { server, flags: words.map(ToOwned::to_owned).to_vec() }
    }

    fn flags<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        self.flags_to("--output=node,nodefeature", more)
    }

    fn flags_to<'a>(&'a self, output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        std::iter::once(output)
            .chain(self.flags.iter().map(String::as_str))
            .chain(more.iter().copied())
            .collect()
    }

    fn count(&self) -> Option<String> {
        self.server.labels(NODE).remove(COUNT)
    }

    /// Requests that write.
    fn writes(&self) -> usize {
        ["patch", "create", "update", "delete"].iter().map(|verb| self.server.count(verb)).sum()
    }
}

fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let check = || if check() { Ok(()) } else { Err("not yet".to_owned()) };
    sim_node::eventually(what, Duration::from_secs(30), check).unwrap();
}

fn looks(discovery: &Process, result: &str) -> f64 {
    let sample = format!("gantry_feature_discovery_looks_total{{result=\"{result}\"}}");
    discovery.metric(&sample).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_stand_on_the_node_come_back_stay_at_the_end_and_go_with_uninstall() {
    let node = bare().build().unwrap();
    let cluster = Cluster::start(&node).await;
    let discovery = start_with(&node, &cluster.flags(&[]));
    eventually("the Node is labelled", || cluster.count().as_deref() == Some("8"));
    discovery.ready().unwrap();
    let object = cluster.server.object(OBJECT);
    assert_eq!(object["spec"]["labels"][COUNT], "8", "{object}");
    let gpus = &object["spec"]["features"]["instances"]["nvidia.gpu"]["elements"];
    assert_eq!(gpus.as_array().map(Vec::len), Some(8), "{object}");
    let owner = &object["metadata"]["ownerReferences"];
    let uid = cluster.server.object("/api/v1/nodes/node-1")["metadata"]["uid"].clone();
    let node_owns_it = serde_json::json!([{ "apiVersion": "v1", "kind": "Node", "name": NODE, "uid": uid }]);
    assert_eq!(*owner, node_owns_it);

    let (writes, before) = (cluster.writes(), looks(&discovery, "ok"));
    for looked in [1.0, 2.0] {
        discovery.signal(Signal::HUP).unwrap();
        eventually("it looked again", || looks(&discovery, "ok") >= before + looked);
    }
    assert_eq!(cluster.writes(), writes, "the same labels were written again");

    cluster.server.update_labels(NODE, "someone", &[(COUNT, None)]);
    eventually("the label is back", || cluster.count().as_deref() == Some("8"));
    discovery.signal(Signal::KILL).unwrap();
    drop(discovery);
    assert_eq!(cluster.count().as_deref(), Some("8"));

    let done = run(&node, &cluster.flags(&["uninstall"]));
    let told = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && told.contains("removed label nvidia.com/gpu.count\n"), "{done:?}");
    assert_eq!(cluster.server.labels(NODE), [(FOREIGN.to_owned(), "r1".to_owned())].into());
    assert!(cluster.server.object(OBJECT).is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn node_feature_has_no_owner_where_none_is_wanted_or_the_node_may_not_be_read() {
    let node = bare().build().unwrap();
    let cluster = Cluster::start(&node).await;
    cluster.server.refuse_reads_of_nodes();
    let owners = || cluster.server.object(OBJECT)["metadata"]["ownerReferences"].clone();
    let discovery = start_with(&node, &cluster.flags_to("--output=nodefeature", &[]));
    discovery.ready_and_says(&["without an owner reference", "cannot get resource"]).unwrap();
    assert!(!cluster.server.object(OBJECT).is_null() && owners().is_null());
    drop(discovery);
    cluster.server.delete(OBJECT);
    let asked = cluster.server.count("get");
    let once = ["--nodefeature-owner=none", "--oneshot"];
    let once = run(&node, &cluster.flags_to("--output=nodefeature", &once));
    assert!(once.status.success(), "{}", String::from_utf8_lossy(&once.stderr));
    assert!(!cluster.server.object(OBJECT).is_null() && owners().is_null());
    assert_eq!(cluster.server.count("get"), asked + 1, "of the object alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn node_feature_discovery_is_believed_where_the_bus_cannot_be_read() {
    const THEIRS: &str = "feature.node.kubernetes.io/pci-0302_10de.present";
    let node = bare().without_driver().build().unwrap();
    let _ = std::fs::remove_dir_all(node.root().join("sys/bus/pci"));
    let cluster = Cluster::start(&node).await;
    let discovery = start_with(&node, &cluster.flags(&[]));
    discovery.readiness_says(&["no-driver"]).unwrap();
    let present = || cluster.server.labels(NODE).remove("nvidia.com/gpu.present");
    assert_eq!(present(), None);
    cluster.server.update_labels(NODE, "nfd-master", &[(THEIRS, Some("true"))]);
    eventually("the GPU is present", || present().as_deref() == Some("true"));
    drop(discovery);
    // The next process does not know at first, and takes nothing off for that.
    cluster.server.inject(Fault::Down, Times::UntilCleared, None);
    let discovery = start_with(&node, &cluster.flags(&[]));
    eventually("it looked", || looks(&discovery, "no-driver") >= 1.0);
    cluster.server.clear_faults();
    let value = |metric: &str| discovery.metric(&format!("gantry_feature_discovery_{metric}")).unwrap();
    eventually("it knows", || value("labels") == 1.0);
    cluster.server.update_labels(NODE, "nfd-master", &[(THEIRS, None)]);
    eventually("it is not", || present().is_none());
    assert_eq!(value("label_changes_total"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn driver_that_goes_leaves_the_labels_and_says_so_in_an_annotation() {
    let node = bare().build().unwrap();
    let cluster = Cluster::start(&node).await;
    let once = run(&node, &cluster.flags(&["--oneshot"]));
    assert!(once.status.success(), "{}", String::from_utf8_lossy(&once.stderr));
    let labels = cluster.server.labels(NODE);
    assert_eq!(labels.get(COUNT).map(String::as_str), Some("8"));

    let discovery = start_with(&node, &cluster.flags(&[]));
    discovery.ready().unwrap();
    let library = node.root().join("usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1");
    std::fs::rename(&library, library.with_extension("away")).unwrap();
    discovery.signal(Signal::HUP).unwrap();
    eventually("the annotation is there", || {
        cluster.server.annotations(NODE).get(WHY).map(String::as_str) == Some("no-driver")
    });
    assert_eq!(cluster.server.labels(NODE), labels);
    std::fs::rename(library.with_extension("away"), &library).unwrap();
    eventually("the annotation is gone", || !cluster.server.annotations(NODE).contains_key(WHY));
    discovery.ready().unwrap();
}
