//! A Node, a server and a keeper, with short waits.

use std::collections::BTreeMap;
use std::time::Duration;

use fake_apiserver::FakeApiServer;
use node_api::{Access, Cluster, Desired, Events, Kept, LabelKeeper, NodeWatcher, OwnNode, Reporter, Timing};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub const NODE: &str = "node-1";
pub const MANAGER: &str = "gantry-test";

const PATIENCE: Duration = Duration::from_secs(30);

pub struct Bench {
    pub server: FakeApiServer,
    pub folder: TempDir,
    pub cluster: Cluster,
    pub desire: watch::Sender<Option<Desired>>,
    pub kept: watch::Receiver<Kept>,
    pub node: watch::Receiver<OwnNode>,
    pub tasks: JoinSet<()>,
}

/// Waits that tests needn't wait for.
pub fn timing() -> Timing {
    Timing {
        answer: Duration::from_secs(10),
        first_retry: Duration::from_millis(4),
        max_retry: Duration::from_millis(30),
        max_retry_after: Duration::from_secs(300),
        watch_idle: Duration::from_secs(60),
        poll: Duration::from_millis(10),
        refused_retry: Duration::from_millis(30),
        restore_first: Duration::from_millis(4),
        restore_max: Duration::from_millis(30),
        restore_calm: Duration::from_secs(3600),
        same_event: Duration::from_secs(3600),
        event_spacing: Duration::from_millis(1),
    }
}

impl Bench {
    /// A server with the Node and a good kubeconfig; nothing runs yet.
    pub async fn idle(timing: Timing) -> Bench {
        let server = FakeApiServer::start().await.unwrap();
        let folder = TempDir::new().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        server.write_kubeconfig(&kubeconfig).unwrap();
        server.create_node(NODE, &[("kubernetes.io/os", "linux")]);
        let cluster = Cluster::connect(Access::Kubeconfig(kubeconfig), timing);
        Bench {
            server,
            folder,
            cluster,
            desire: watch::channel(None).0,
            kept: watch::channel(Kept::default()).1,
            node: watch::channel(OwnNode::default()).1,
            tasks: JoinSet::new(),
        }
    }

    /// The same, with a keeper that runs.
    pub async fn start() -> Bench {
        let mut bench = Bench::idle(timing()).await;
        bench.run();
        bench
    }

    /// Starts a keeper, as a daemon's start does.
    pub fn run(&mut self) {
        let (watcher, node) = NodeWatcher::new(self.cluster.clone(), NODE);
        let reporter = Reporter::new("gantry.dev/test", "pod-1");
        let (events, writer) = Events::new(self.cluster.clone(), NODE, reporter);
        let desired = self.desire.subscribe();
        let (keeper, kept) =
            LabelKeeper::new(self.cluster.clone(), node.clone(), MANAGER, desired, Some(events));
        self.tasks.spawn(watcher.run());
        self.tasks.spawn(writer.run());
        self.tasks.spawn(keeper.run());
        (self.kept, self.node) = (kept, node);
    }

    /// Ends it, as a SIGKILL does.
    pub async fn kill(&mut self) {
        self.tasks.shutdown().await;
    }

    pub fn desire(&self, generation: u64, labels: &[(&str, &str)]) {
        let annotations = [("example.com/note".to_owned(), "of ours".to_owned())].into();
        self.desire.send_replace(Some(Desired { generation, labels: map(labels), annotations }));
    }

    /// Waits until the Node shows a generation and nothing is in the way.
    pub async fn applied(&mut self, generation: u64) -> Kept {
        self.until(|kept| kept.applied == Some(generation) && kept.trouble.is_none()).await
    }

    pub async fn trouble(&mut self, reason: &str) -> Kept {
        self.until(|kept| kept.trouble.as_ref().is_some_and(|it| it.reason == reason)).await
    }

    pub async fn until(&mut self, wanted: impl FnMut(&Kept) -> bool) -> Kept {
        let mut last = self.kept.clone();
        match tokio::time::timeout(PATIENCE, self.kept.wait_for(wanted)).await {
            Ok(kept) => kept.unwrap().clone(),
            Err(_) => {
                panic!(
                    "it stays at {:#?}, and the server saw {:#?}",
                    last.borrow_and_update(),
                    self.server.requests()
                )
            }
        }
    }

    pub fn label(&self, key: &str) -> Option<String> {
        self.server.labels(NODE).get(key).cloned()
    }
}

pub fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Waits for a condition of the server's.
pub async fn eventually(server: &FakeApiServer, what: &str, mut condition: impl FnMut() -> bool) {
    let begin = tokio::time::Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "never: {what}; the server saw {:#?}", server.requests());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
