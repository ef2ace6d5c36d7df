//! The machine against kubelets that misbehave, without a driver and without a process.

use std::os::unix::net::UnixListener as StdListener;

use gpu_model::names::RESOURCE_GPU;
use kubelet_api::deviceplugin::v1beta1::Empty;
use kubelet_api::deviceplugin::v1beta1::registration_server::{
    Registration as RegistrationService, RegistrationServer,
};
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

use super::*;
use crate::kubelet_socket::KubeletWatch;
use crate::metrics::Metrics;
use crate::socket::Connection;
use crate::standing::Standings;
use crate::state::tests::node;

/// A machine at work in a folder of its own.
struct Rig {
    dir: tempfile::TempDir,
    names: SocketNames,
    readiness: daemon::Readiness,
    running: Option<JoinHandle<Result<(), RegistrationEnded>>>,
    _connections: Option<mpsc::Receiver<std::io::Result<Connection>>>,
}

impl Rig {
    fn new() -> Self {
        let resource: ResourceName = RESOURCE_GPU.parse().unwrap();
        Self {
            dir: tempfile::tempdir().unwrap(),
            names: SocketNames::new(&resource, 1, 7),
            readiness: daemon::Readiness::new(),
            running: None,
            _connections: None,
        }
    }

    fn kubelet(&self) -> PathBuf {
        self.dir.path().join("kubelet.sock")
    }

    /// Starts the machine on the kubelet's socket at `path`.
    fn start(&mut self, path: PathBuf) {
        self.start_with(path, REGISTER_TIMEOUT);
    }

    fn start_with(&mut self, path: PathBuf, timeout: Duration) {
        let resource: ResourceName = RESOURCE_GPU.parse().unwrap();
        let (sender, connections) = mpsc::channel(1);
        let (_, state) = watch::channel(std::sync::Arc::new(node(1)));
        let (_, cdi) = watch::channel(CdiGate::Open);
        let (kubelet, watching) = KubeletView::of(KubeletWatch::new(path));
        tokio::spawn(watching);
        let registration = Registration {
            metrics: Metrics::register(&prometheus::Registry::new()).unwrap().of(&resource),
            standing: Standings::new(self.readiness.component("kubelet")).of(&resource),
            resource,
            names: self.names.clone(),
            kubelet,
            pod_resources: self.dir.path().join("pod-resources.sock"),
            files: Files::start().unwrap(),
            acceptor: Acceptor::new(sender),
            streams: Streams::new(state.clone(), Duration::ZERO),
            state,
            cdi,
            timeout,
        };
        self.running = Some(tokio::spawn(registration.run()));
        self._connections = Some(connections);
    }

    /// The code and the words on `/ready`.
    fn says(&self) -> (String, String) {
        let report = self.readiness.report();
        let kubelet = report.not_ready.into_iter().next();
        let text = |text: Option<String>| text.unwrap_or_default();
        kubelet.map_or_else(Default::default, |state| (text(state.code), text(state.detail)))
    }

    /// What `/ready` says once it has this code.
    async fn told(&self, code: &str) -> String {
        let in_time = timeout(Duration::from_secs(30), eventually(|| self.says().0 == code)).await;
        assert!(in_time.is_ok(), "{code} was not told: {:?}", self.says());
        self.says().1
    }
}

async fn eventually(is_so: impl Fn() -> bool) {
    while !is_so() {
        sleep(Duration::from_millis(2)).await;
    }
}

struct Refusing;

#[tonic::async_trait]
impl RegistrationService for Refusing {
    async fn register(&self, _: Request<RegisterRequest>) -> Result<Response<Empty>, Status> {
        Err(Status::unknown("resource name is not to its taste"))
    }
}

#[tokio::test]
async fn kubelet_that_refuses_is_told_with_its_words() {
    let mut rig = Rig::new();
    let listener = UnixListener::bind(rig.kubelet()).unwrap();
    let service = RegistrationServer::new(Refusing);
    let incoming = UnixListenerStream::new(listener);
    tokio::spawn(tonic::transport::Server::builder().serve_with_incoming(service, incoming));
    rig.start(rig.kubelet());
    let words = rig.told("register-refused").await;
    assert!(words.contains("not to its taste"), "{words}");
}

#[tokio::test]
async fn folder_that_takes_no_socket_is_told_and_tried_again() {
    let mut rig = Rig::new();
    let _kubelet = StdListener::bind(rig.kubelet()).unwrap();
    // A folder stands where the socket would be made.
    let in_the_way = rig.dir.path().join(rig.names.draft());
    std::fs::create_dir(&in_the_way).unwrap();
    rig.start(rig.kubelet());
    let words = rig.told("bind-failed").await;
    assert!(words.contains(&rig.names.own()), "{words}");
    std::fs::remove_dir(&in_the_way).unwrap();
    // Nobody answers there.
    rig.told("registering").await;
}

#[tokio::test]
async fn kubelet_that_never_answers_is_told_after_the_timeout_and_asked_again() {
    let mut rig = Rig::new();
    let silent = UnixListener::bind(rig.kubelet()).unwrap();
    rig.start_with(rig.kubelet(), Duration::from_millis(50));
    let _first = silent.accept().await.unwrap();
    let words = rig.told("register-timeout").await;
    assert!(words.contains("within 50ms"), "{words}");
    let _second = timeout(Duration::from_secs(30), silent.accept()).await.unwrap().unwrap();
}

#[tokio::test]
async fn kubelet_that_never_answers_is_left_at_once_when_it_is_replaced() {
    let mut rig = Rig::new();
    let silent = UnixListener::bind(rig.kubelet()).unwrap();
    rig.start(rig.kubelet());
    let _held = silent.accept().await.unwrap();
    rig.told("registering").await;
    let next = UnixListener::bind(rig.dir.path().join("next.sock")).unwrap();
    std::fs::rename(rig.dir.path().join("next.sock"), rig.kubelet()).unwrap();
    let _second = timeout(Duration::from_secs(30), next.accept()).await.unwrap().unwrap();
    // Not after a time-out: that would stand there now.
    assert_eq!(rig.says().0, "registering");
    // The one that was replaced may have the first socket on its books.
    let sockets: Vec<String> = std::fs::read_dir(rig.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("gantry-"))
        .collect();
    assert_eq!(sockets.len(), 1);
    assert_ne!(sockets[0], rig.names.own());
}

#[tokio::test]
async fn folder_that_is_moved_away_under_a_mount_ends_the_machine() {
    let mut rig = Rig::new();
    let folder = rig.dir.path().join("device-plugins");
    std::fs::create_dir(&folder).unwrap();
    let held = std::fs::File::open(&folder).unwrap();
    let reached = format!("/proc/self/fd/{}/kubelet.sock", std::os::fd::AsRawFd::as_raw_fd(&held));
    rig.start(reached.into());
    rig.told("kubelet-absent").await;
    std::fs::rename(&folder, rig.dir.path().join("old")).unwrap();
    let ended = timeout(Duration::from_secs(30), rig.running.take().unwrap()).await.unwrap().unwrap();
    assert!(matches!(ended, Err(RegistrationEnded::FolderReplaced { .. })));
}

#[tokio::test]
async fn what_cannot_be_looked_at_is_told_with_the_systems_words() {
    let mut rig = Rig::new();
    let circle = rig.dir.path().join("circle");
    std::os::unix::fs::symlink("circle", &circle).unwrap();
    rig.start(circle.join("kubelet.sock"));
    let words = rig.told("kubelet-unreadable").await;
    assert!(words.contains("circle") && words.contains("symbolic links"), "{words}");
}
