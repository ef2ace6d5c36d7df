//! A kubelet with a plugin that is simple and well-behaved.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use fake_kubelet::{AdmissionError, Builder, Event, FakeKubelet};
use kubelet_api::deviceplugin::{
    VERSION,
    v1beta1::{
        AllocateRequest, AllocateResponse, ContainerAllocateResponse, ContainerPreferredAllocationResponse,
        Device, DevicePluginOptions, Empty, ListAndWatchResponse, NumaNode, PreStartContainerRequest,
        PreStartContainerResponse, PreferredAllocationRequest, PreferredAllocationResponse, RegisterRequest,
        TopologyInfo,
        device_plugin_server::{DevicePlugin, DevicePluginServer},
        registration_client::RegistrationClient,
    },
};
use tokio::{net::UnixListener, sync::watch};
use tokio_stream::wrappers::{UnixListenerStream, WatchStream};
use tonic::{Request, Response, Status, transport::Server};

pub const RESOURCE: &str = "example.com/gpu";

/// Available ids, and those that must be chosen.
pub type Question = (BTreeSet<String>, BTreeSet<String>);

/// A plugin that prefers the first ids, and says in each answer which devices it was asked for.
#[derive(Clone)]
struct Plugin {
    devices: watch::Receiver<Vec<Device>>,
    asked: Arc<Mutex<Vec<Question>>>,
    lists: Arc<AtomicUsize>,
    /// Calls of `Allocate` that wait to be let go on.
    allocating: Arc<AtomicUsize>,
    goes_on: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl DevicePlugin for Plugin {
    type ListAndWatchStream =
        std::pin::Pin<Box<dyn tokio_stream::Stream<Item = Result<ListAndWatchResponse, Status>> + Send>>;

    async fn get_device_plugin_options(
        &self,
        _: Request<Empty>,
    ) -> Result<Response<DevicePluginOptions>, Status> {
        let options = DevicePluginOptions { get_preferred_allocation_available: true, ..Default::default() };
        Ok(Response::new(options))
    }

    async fn list_and_watch(&self, _: Request<Empty>) -> Result<Response<Self::ListAndWatchStream>, Status> {
        use tokio_stream::StreamExt;
        self.lists.fetch_add(1, Ordering::SeqCst);
        let lists =
            WatchStream::new(self.devices.clone()).map(|devices| Ok(ListAndWatchResponse { devices }));
        Ok(Response::new(Box::pin(lists)))
    }

    async fn get_preferred_allocation(
        &self,
        request: Request<PreferredAllocationRequest>,
    ) -> Result<Response<PreferredAllocationResponse>, Status> {
        let request = request.into_inner().container_requests.remove(0);
        let available: BTreeSet<String> = request.available_device_i_ds.into_iter().collect();
        let must: BTreeSet<String> = request.must_include_device_i_ds.into_iter().collect();
        let device_i_ds = available.iter().take(request.allocation_size as usize).cloned().collect();
        self.asked.lock().unwrap().push((available, must));
        let container_responses = vec![ContainerPreferredAllocationResponse { device_i_ds }];
        Ok(Response::new(PreferredAllocationResponse { container_responses }))
    }

    async fn allocate(
        &self,
        request: Request<AllocateRequest>,
    ) -> Result<Response<AllocateResponse>, Status> {
        self.allocating.fetch_add(1, Ordering::SeqCst);
        let _ = self.goes_on.clone().wait_for(|goes_on| *goes_on).await;
        self.allocating.fetch_sub(1, Ordering::SeqCst);
        let ids = request.into_inner().container_requests.remove(0).devices_ids;
        let envs = BTreeMap::from([("DEVICES".to_owned(), ids.join(","))]);
        let container_responses = vec![ContainerAllocateResponse { envs, ..Default::default() }];
        Ok(Response::new(AllocateResponse { container_responses }))
    }

    async fn pre_start_container(
        &self,
        _: Request<PreStartContainerRequest>,
    ) -> Result<Response<PreStartContainerResponse>, Status> {
        Ok(Response::new(PreStartContainerResponse {}))
    }
}

/// A kubelet with that plugin.
pub struct Node {
    pub kubelet: FakeKubelet,
    devices: watch::Sender<Vec<Device>>,
    goes_on: watch::Sender<bool>,
    plugin: Plugin,
    server: Option<tokio::task::JoinHandle<()>>,
    pub dir: tempfile::TempDir,
    endpoints: usize,
}

impl Node {
    pub async fn new(devices: &[(&str, Option<i64>)]) -> Node {
        Node::with(devices, |builder| builder).await
    }

    /// The same with a kubelet that is set up further.
    pub async fn with(devices: &[(&str, Option<i64>)], set_up: impl FnOnce(Builder) -> Builder) -> Node {
        let node = Node::with_unlisted(devices, set_up).await;
        node.until(|node| node.amounts().0 == devices.len()).await;
        node
    }

    /// The same, whose kubelet may not have the plugin's list.
    pub async fn with_unlisted(
        devices: &[(&str, Option<i64>)],
        set_up: impl FnOnce(Builder) -> Builder,
    ) -> Node {
        let dir = tempfile::tempdir().unwrap();
        let kubelet = set_up(FakeKubelet::builder(dir.path().join("device-plugins"))).start().await.unwrap();
        let (devices, receiver) = watch::channel(list(devices));
        let goes_on = watch::Sender::new(true);
        let plugin = Plugin {
            devices: receiver,
            asked: Arc::default(),
            lists: Arc::default(),
            allocating: Arc::default(),
            goes_on: goes_on.subscribe(),
        };
        let mut node = Node { kubelet, devices, goes_on, plugin, server: None, dir, endpoints: 0 };
        node.register_unlisted().await;
        node
    }

    /// Serves on a new socket and registers it; returns once its list is there.
    pub async fn register(&mut self) {
        self.register_unlisted().await;
        let count = self.devices.borrow().len();
        self.until(|node| node.amounts().0 == count).await;
    }

    /// Serves on a new socket and registers it; returns the socket's name.
    pub async fn register_unlisted(&mut self) -> String {
        self.endpoints += 1;
        let endpoint = format!("plugin-{}.sock", self.endpoints);
        let listener = UnixListener::bind(self.kubelet.dir().join(&endpoint)).unwrap();
        let service = DevicePluginServer::new(self.plugin.clone());
        // An older server runs on: it still serves its own socket.
        self.server = Some(tokio::spawn(async move {
            Server::builder().serve_with_incoming(service, UnixListenerStream::new(listener)).await.unwrap();
        }));
        self.register_at(&endpoint).await.unwrap();
        endpoint
    }

    /// Registers a socket once more.
    pub async fn register_at(&self, endpoint: &str) -> Result<(), Status> {
        let request = RegisterRequest {
            version: VERSION.to_owned(),
            endpoint: endpoint.to_owned(),
            resource_name: RESOURCE.to_owned(),
            options: None,
        };
        registrar(&self.kubelet.socket()).await.unwrap().register(request).await.map(|_| ())
    }

    /// Ends every stream: the list's source is gone.
    pub fn lose(&mut self) {
        let (devices, receiver) = watch::channel(self.devices.borrow().clone());
        self.devices = devices;
        self.plugin.devices = receiver;
        if let Some(server) = self.server.take() {
            server.abort();
        }
    }

    /// What registers from now on is another plugin, with streams of its own. The older one's end with what this gives.
    pub fn another_plugin(&mut self) -> watch::Sender<Vec<Device>> {
        let (devices, receiver) = watch::channel(self.devices.borrow().clone());
        self.plugin.devices = receiver;
        std::mem::replace(&mut self.devices, devices)
    }

    pub fn list(&self, devices: Vec<Device>) {
        self.devices.send_replace(devices);
    }

    /// Capacity and allocatable.
    pub fn amounts(&self) -> (usize, usize) {
        let state = self.kubelet.resources().resources.remove(RESOURCE).unwrap_or_default();
        (state.capacity, state.allocatable)
    }

    pub async fn until(&self, condition: impl Fn(&Node) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut poll = tokio::time::interval(Duration::from_millis(5));
        while !condition(self) {
            assert!(Instant::now() < deadline, "last state: {:#?}", self.kubelet.resources());
            poll.tick().await;
        }
    }

    /// Whether an event of this kind was told.
    pub fn told(&self, is_it: impl Fn(&Event) -> bool) -> bool {
        self.kubelet.log().iter().any(|happening| is_it(&happening.event))
    }

    /// Whether `Allocate` is answered; else it hangs.
    pub fn answer_allocate(&self, answers: bool) {
        self.goes_on.send_replace(answers);
    }

    /// Whether a call of `Allocate` hangs.
    pub fn allocate_hangs(&self) -> bool {
        self.plugin.allocating.load(Ordering::SeqCst) > 0
    }

    /// How often the plugin's list was asked for.
    pub fn lists_opened(&self) -> usize {
        self.plugin.lists.load(Ordering::SeqCst)
    }

    pub fn asked(&self) -> Vec<Question> {
        self.plugin.asked.lock().unwrap().clone()
    }

    pub async fn admit(
        &self,
        pod: &str,
        container: &str,
        count: usize,
    ) -> Result<Vec<String>, AdmissionError> {
        self.kubelet.allocate(pod, container, RESOURCE, count).await.map(|allocation| allocation.devices)
    }
}

pub async fn registrar(socket: &Path) -> io::Result<RegistrationClient<tonic::transport::Channel>> {
    let uri = format!("unix://{}", socket.display());
    let endpoint = tonic::transport::Endpoint::from_shared(uri).map_err(io::Error::other)?;
    Ok(RegistrationClient::new(endpoint.connect().await.map_err(io::Error::other)?))
}

pub fn list(devices: &[(&str, Option<i64>)]) -> Vec<Device> {
    let topology = |id: i64| TopologyInfo { nodes: vec![NumaNode { id }] };
    devices
        .iter()
        .map(|(id, numa)| Device {
            id: (*id).to_owned(),
            health: "Healthy".to_owned(),
            topology: numa.map(topology),
        })
        .collect()
}

pub fn set(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}
