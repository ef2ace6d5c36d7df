//! The NodeFeature object: written where it differs, and only there.

use fake_apiserver::{Fault, Times};
use node_api::{
    DesiredFeatures, Features, NodeFeatureKeeper, NodeFeatureKept, NodeFeaturePlace, Owner,
    remove_node_feature,
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::bench::{Bench, MANAGER, NODE, eventually, map, timing};

const PATH: &str = "/apis/nfd.k8s-sigs.io/v1alpha1/namespaces/gantry/nodefeatures/features-of-node-1";

const NODE_PATH: &str = "/api/v1/nodes/node-1";

struct Stage {
    bench: Bench,
    desire: watch::Sender<Option<DesiredFeatures>>,
    kept: watch::Receiver<NodeFeatureKept>,
}

impl Stage {
    async fn start(prepare: impl FnOnce(&Bench)) -> Stage {
        let mut bench = Bench::idle(timing()).await;
        prepare(&bench);
        let place = NodeFeaturePlace {
            namespace: "gantry".to_owned(),
            name: "features-of-node-1".to_owned(),
            node: NODE.to_owned(),
            manager: MANAGER.to_owned(),
            owner: Owner::Node,
        };
        let (desire, desired) = watch::channel(None);
        let (keeper, kept) = NodeFeatureKeeper::new(bench.cluster.clone(), place, desired);
        bench.tasks.spawn(keeper.run());
        Stage { bench, desire, kept }
    }

    fn desire(&self, generation: u64, count: &str) {
        let features = Features {
            flags: [("nvidia.driver".to_owned(), ["open".to_owned()].into())].into(),
            attributes: [("nvidia.node".to_owned(), map(&[("count", count)]))].into(),
            instances: [("nvidia.gpu".to_owned(), vec![map(&[("memory", "80")])])].into(),
        };
        let labels = map(&[("nvidia.com/gpu.count", count)]);
        self.desire.send_replace(Some(DesiredFeatures { generation, labels, features }));
    }

    /// The owner references by which the object goes with the Node that there is now, and keeps nobody from deleting it.
    fn node_owns_it(&self) -> Value {
        let uid = self.bench.server.object(NODE_PATH)["metadata"]["uid"].clone();
        assert!(uid.is_string(), "{uid}");
        json!([{ "apiVersion": "v1", "kind": "Node", "name": NODE, "uid": uid }])
    }

    async fn until(&mut self, wanted: impl FnMut(&NodeFeatureKept) -> bool) -> NodeFeatureKept {
        let found =
            tokio::time::timeout(std::time::Duration::from_secs(30), self.kept.wait_for(wanted)).await;
        found
            .unwrap_or_else(|_| panic!("the server saw {:#?}", self.bench.server.requests()))
            .unwrap()
            .clone()
    }
}

#[tokio::test]
async fn object_is_created_replaced_where_it_differs_and_restored() {
    let mut stage = Stage::start(|_| ()).await;
    stage.desire(1, "2");
    stage.until(|kept| kept.applied == Some(1)).await;
    let object = stage.bench.server.object(PATH);
    assert_eq!(
        object["spec"],
        json!({
            "labels": { "nvidia.com/gpu.count": "2" },
            "features": {
                "flags": { "nvidia.driver": { "elements": { "open": {} } } },
                "attributes": { "nvidia.node": { "elements": { "count": "2" } } },
                "instances": { "nvidia.gpu": { "elements": [{ "attributes": { "memory": "80" } }] } },
            },
        })
    );
    assert_eq!(object["metadata"]["labels"], json!({ "nfd.node.kubernetes.io/node-name": NODE }));
    assert_eq!(object["metadata"]["ownerReferences"], stage.node_owns_it());
    stage.desire(2, "2");
    assert_eq!(stage.until(|kept| kept.applied == Some(2)).await.writes, 1);
    stage.desire(3, "3");
    assert_eq!(stage.until(|kept| kept.applied == Some(3)).await.writes, 2);
    assert_eq!(stage.bench.server.object(PATH)["spec"]["labels"]["nvidia.com/gpu.count"], "3");
    stage.bench.server.delete(PATH);
    stage.until(|kept| kept.writes == 3).await;
    assert_eq!(stage.bench.server.object(PATH)["spec"]["labels"]["nvidia.com/gpu.count"], "3");
    stage.bench.kill().await;
    assert!(remove_node_feature(&stage.bench.cluster, "gantry", "features-of-node-1").await.unwrap());
    assert!(!remove_node_feature(&stage.bench.cluster, "gantry", "features-of-node-1").await.unwrap());
}

#[tokio::test]
async fn owner_that_is_refused_or_may_not_be_read_is_gone_without() {
    for (may_read, why) in [(true, "ownerReference"), (false, "cannot get resource \"nodes\"")] {
        let refuse = |bench: &Bench| match may_read {
            true => bench.server.refuse_owners(),
            false => bench.server.refuse_reads_of_nodes(),
        };
        let mut stage = Stage::start(refuse).await;
        stage.desire(1, "2");
        let kept = stage.until(|kept| kept.applied == Some(1)).await;
        let refused = kept.owner_refused.unwrap();
        assert!(refused.contains(why), "{refused}");
        assert!(stage.bench.server.object(PATH)["metadata"]["ownerReferences"].is_null());
        stage.desire(2, "2");
        assert_eq!(stage.until(|kept| kept.applied == Some(2)).await.writes, 1);
    }
}

#[tokio::test]
async fn object_is_owned_by_the_node_that_there_is_and_asks_for_it_when_it_is_written() {
    let mut stage = Stage::start(|_| ()).await;
    stage.desire(1, "2");
    stage.until(|kept| kept.applied == Some(1)).await;
    let first = stage.node_owns_it();
    let asked = |stage: &Stage| {
        stage.bench.server.requests().iter().filter(|it| it.path == NODE_PATH && it.verb == "get").count()
    };
    let before = stage.bench.server.count("get");
    eventually(&stage.bench.server, "it looked again", || stage.bench.server.count("get") > before + 2).await;
    assert_eq!(asked(&stage), 1);

    // A Node that comes back is another one, and what the one before owned is deleted with it.
    stage.bench.server.delete_node(NODE);
    stage.bench.server.delete(PATH);
    stage.until(|kept| kept.trouble.as_ref().is_some_and(|it| it.reason == "api-not-found")).await;
    assert!(stage.bench.server.object(PATH).is_null());
    stage.bench.server.create_node(NODE, &[]);
    stage.until(|kept| kept.trouble.is_none() && kept.writes == 2).await;
    let second = stage.bench.server.object(PATH)["metadata"]["ownerReferences"].clone();
    assert_eq!(second, stage.node_owns_it());
    assert_ne!(second, first);
}

#[tokio::test]
async fn server_that_fails_or_knows_no_such_object_is_told_and_outlasted() {
    for (fault, reason) in [
        (Fault::Down, "api-unreachable"),
        (Fault::code(404), "api-not-found"),
        (Fault::Garbage, "api-garbage"),
    ] {
        let mut stage = Stage::start(|bench| bench.server.inject(fault, Times::UntilCleared, None)).await;
        stage.desire(1, "2");
        stage.until(|kept| kept.trouble.as_ref().is_some_and(|it| it.reason == reason)).await;
        stage.bench.server.clear_faults();
        let kept = stage.until(|kept| kept.applied == Some(1)).await;
        assert_eq!(kept.trouble, None);
    }
}
