//! A device plugin that does what it is told and notes what it is asked.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kubelet_api::deviceplugin::{
    HEALTHY, KUBELET_SOCKET_NAME, VERSION,
    v1beta1::{
        AllocateRequest, AllocateResponse, ContainerAllocateResponse, ContainerPreferredAllocationResponse,
        Device, DevicePluginOptions, Empty, ListAndWatchResponse, NumaNode, PreStartContainerRequest,
        PreStartContainerResponse, PreferredAllocationRequest, PreferredAllocationResponse, RegisterRequest,
        TopologyInfo, device_plugin_server::DevicePlugin, device_plugin_server::DevicePluginServer,
        registration_client::RegistrationClient,
    },
};
use prost::Message;
use tokio::{
    net::UnixListener,
    runtime::{self, Runtime},
    sync::{mpsc, watch},
};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status, transport::Server};

use crate::dial::dial;

/// Limit on one call to the kubelet, which itself dials for 10 seconds.
const CALL_LIMIT: Duration = Duration::from_secs(20);

/// A call that the kubelet made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// `GetDevicePluginOptions`.
    Options,
    /// `ListAndWatch`.
    List,
    /// `GetPreferredAllocation`, one entry per container request.
    Preferred(Vec<PreferredQuestion>),
    /// `Allocate`, the ids of each container request.
    Allocate(Vec<BTreeSet<String>>),
    /// `PreStartContainer`.
    PreStart(BTreeSet<String>),
}

/// What the kubelet asks preferences about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreferredQuestion {
    /// Ids to choose from.
    pub available: BTreeSet<String>,
    /// Ids that must be chosen.
    pub must_include: BTreeSet<String>,
    /// How many.
    pub size: i32,
}

/// What the plugin answers.
pub(super) struct Script {
    pub(super) options: Result<DevicePluginOptions, ()>,
    /// Ids for every `GetPreferredAllocation`; an error instead; or no container response at all.
    pub(super) preferred: Result<Option<Vec<String>>, ()>,
    /// Container responses of every `Allocate`, or an error.
    pub(super) allocate: Result<usize, ()>,
}

/// A plugin on its own socket, in a runtime of its own: it dies at once, with all its connections.
pub struct ScriptedPlugin {
    dir: PathBuf,
    endpoint: String,
    resource: String,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

struct Shared {
    script: Mutex<Script>,
    calls: Mutex<Vec<Call>>,
    devices: watch::Sender<Vec<Device>>,
    /// A change ends every stream.
    stream_end: watch::Sender<u64>,
}

/// What a newer release may send: fields that this one does not know.
#[derive(Clone, PartialEq, Message)]
struct LaterRegisterRequest {
    #[prost(string, tag = "1")]
    version: String,
    #[prost(string, tag = "2")]
    endpoint: String,
    #[prost(string, tag = "3")]
    resource_name: String,
    #[prost(string, tag = "15")]
    later_text: String,
    #[prost(uint64, tag = "200")]
    later_number: u64,
}

impl ScriptedPlugin {
    /// Serves `resource` with these devices on a socket in the plugin folder; registers nothing yet.
    pub(super) fn start(
        dir: &Path,
        endpoint: &str,
        resource: &str,
        devices: Vec<Device>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            script: Mutex::new(Script {
                options: Ok(DevicePluginOptions::default()),
                preferred: Ok(None),
                allocate: Ok(1),
            }),
            calls: Mutex::default(),
            devices: watch::Sender::new(devices),
            stream_end: watch::Sender::new(0),
        });
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = {
            let _context = runtime.enter();
            UnixListener::bind(dir.join(endpoint))?
        };
        let service = DevicePluginServer::new(Service(Arc::clone(&shared)));
        runtime.spawn(Server::builder().serve_with_incoming(service, UnixListenerStream::new(listener)));
        Ok(ScriptedPlugin {
            dir: dir.to_owned(),
            endpoint: endpoint.to_owned(),
            resource: resource.to_owned(),
            shared,
            runtime: Some(runtime),
        })
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join(&self.endpoint)
    }

    /// Its request for registration.
    pub fn request(&self) -> RegisterRequest {
        RegisterRequest {
            version: VERSION.to_owned(),
            endpoint: self.endpoint.clone(),
            resource_name: self.resource.clone(),
            options: None,
        }
    }

    /// Registers with the kubelet.
    pub(super) fn register(&self, request: RegisterRequest) -> Result<(), Status> {
        self.call(async move |channel| RegistrationClient::new(channel).register(request).await.map(|_| ()))
    }

    /// Registers with fields that the protocol does not have.
    pub(super) fn register_as_later_release(&self) -> Result<(), Status> {
        let request = LaterRegisterRequest {
            version: VERSION.to_owned(),
            endpoint: self.endpoint.clone(),
            resource_name: self.resource.clone(),
            later_text: "later".to_owned(),
            later_number: u64::MAX,
        };
        self.call(async move |channel| {
            let mut grpc = tonic::client::Grpc::new(channel);
            grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let path = tonic::codegen::http::uri::PathAndQuery::from_static("/v1beta1.Registration/Register");
            let codec = tonic_prost::ProstCodec::<LaterRegisterRequest, Empty>::default();
            grpc.unary(Request::new(request), path, codec).await.map(|_| ())
        })
    }

    /// Sends a new list.
    pub(super) fn list(&self, devices: Vec<Device>) {
        self.shared.devices.send_replace(devices);
    }

    /// Ends the open streams; the socket stays.
    pub(super) fn end_streams(&self) {
        self.shared.stream_end.send_modify(|count| *count += 1);
    }

    /// Dies as if killed. The socket's file stays until this value is dropped.
    pub(super) fn die(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    pub(super) fn script(&self) -> MutexGuard<'_, Script> {
        self.shared.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every call of the kubelet so far.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.calls().clone()
    }

    /// Container requests of the last `Allocate`.
    pub(super) fn last_allocate(&self) -> Result<Vec<BTreeSet<String>>, String> {
        let calls = self.calls();
        let last = calls.iter().rev().find_map(|call| match call {
            Call::Allocate(requests) => Some(requests.clone()),
            _ => None,
        });
        last.ok_or_else(|| format!("Allocate was not called; calls: {calls:?}"))
    }

    fn call<F>(&self, call: impl FnOnce(tonic::transport::Channel) -> F) -> Result<(), Status>
    where
        F: Future<Output = Result<(), Status>>,
    {
        let socket = self.dir.join(KUBELET_SOCKET_NAME);
        let runtime =
            self.runtime.as_ref().ok_or_else(|| Status::failed_precondition("the plugin is dead"))?;
        runtime.block_on(async {
            let connected = async {
                let channel = dial(&socket)
                    .await
                    .map_err(|error| Status::unavailable(format!("{}: {error}", socket.display())))?;
                call(channel).await
            };
            let done = tokio::time::timeout(CALL_LIMIT, connected).await;
            done.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer from the kubelet")))
        })
    }
}

impl Drop for ScriptedPlugin {
    fn drop(&mut self) {
        self.die();
        // Absent after a restart of the kubelet.
        let _ = fs::remove_file(self.socket());
    }
}

/// Healthy devices with these ids.
pub(super) fn healthy(ids: &[&str]) -> Vec<Device> {
    ids.iter().map(|id| device(id, HEALTHY, None)).collect()
}

/// One device.
pub(super) fn device(id: &str, health: &str, numa: Option<i64>) -> Device {
    Device {
        id: id.to_owned(),
        health: health.to_owned(),
        topology: numa.map(|id| TopologyInfo { nodes: vec![NumaNode { id }] }),
    }
}

impl Shared {
    fn calls(&self) -> MutexGuard<'_, Vec<Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Service(Arc<Shared>);

fn scripted() -> Status {
    Status::internal("scripted failure")
}

#[tonic::async_trait]
impl DevicePlugin for Service {
    type ListAndWatchStream = ReceiverStream<Result<ListAndWatchResponse, Status>>;

    async fn get_device_plugin_options(
        &self,
        _: Request<Empty>,
    ) -> Result<Response<DevicePluginOptions>, Status> {
        self.0.calls().push(Call::Options);
        self.0.script().options.map(Response::new).map_err(|()| scripted())
    }

    async fn list_and_watch(&self, _: Request<Empty>) -> Result<Response<Self::ListAndWatchStream>, Status> {
        self.0.calls().push(Call::List);
        let (send, receive) = mpsc::channel(1);
        let (mut devices, mut end) = (self.0.devices.subscribe(), self.0.stream_end.subscribe());
        end.mark_unchanged();
        tokio::spawn(async move {
            loop {
                let list = ListAndWatchResponse { devices: devices.borrow_and_update().clone() };
                if send.send(Ok(list)).await.is_err() {
                    return;
                }
                tokio::select! {
                    changed = devices.changed() => if changed.is_err() { return },
                    _ = end.changed() => return,
                    () = send.closed() => return,
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receive)))
    }

    async fn get_preferred_allocation(
        &self,
        request: Request<PreferredAllocationRequest>,
    ) -> Result<Response<PreferredAllocationResponse>, Status> {
        let questions =
            request.into_inner().container_requests.into_iter().map(|container| PreferredQuestion {
                available: container.available_device_i_ds.into_iter().collect(),
                must_include: container.must_include_device_i_ds.into_iter().collect(),
                size: container.allocation_size,
            });
        self.0.calls().push(Call::Preferred(questions.collect()));
        let ids = self.0.script().preferred.clone().map_err(|()| scripted())?;
        let container_responses =
            ids.into_iter().map(|ids| ContainerPreferredAllocationResponse { device_i_ds: ids }).collect();
        Ok(Response::new(PreferredAllocationResponse { container_responses }))
    }

    async fn allocate(
        &self,
        request: Request<AllocateRequest>,
    ) -> Result<Response<AllocateResponse>, Status> {
        let requests = request.into_inner().container_requests;
        let ids = requests.into_iter().map(|container| container.devices_ids.into_iter().collect()).collect();
        self.0.calls().push(Call::Allocate(ids));
        let count = self.0.script().allocate.map_err(|()| scripted())?;
        let container_responses = vec![ContainerAllocateResponse::default(); count];
        Ok(Response::new(AllocateResponse { container_responses }))
    }

    async fn pre_start_container(
        &self,
        request: Request<PreStartContainerRequest>,
    ) -> Result<Response<PreStartContainerResponse>, Status> {
        self.0.calls().push(Call::PreStart(request.into_inner().devices_ids.into_iter().collect()));
        Ok(Response::new(PreStartContainerResponse {}))
    }
}
