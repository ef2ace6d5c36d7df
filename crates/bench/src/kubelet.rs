//! A kubelet reduced to a stopwatch: it registers plugins as the real one does, and notes when the first
//! device list arrives. Its clock starts where the real kubelet's plugin could first notice it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kubelet_api::deviceplugin::v1beta1::device_plugin_client::DevicePluginClient;
use kubelet_api::deviceplugin::v1beta1::registration_server::{Registration, RegistrationServer};
use kubelet_api::deviceplugin::v1beta1::{Device, Empty, RegisterRequest};
use kubelet_api::deviceplugin::{KUBELET_SOCKET_NAME, VERSION};
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};

use crate::node::{CallCounter, Node};

/// A client of the plugin's socket.
pub type PluginClient = DevicePluginClient<Channel>;

/// One life of the kubelet, from the creation of its socket on.
pub struct Kubelet {
    /// When the socket had been created.
    pub born: Instant,
    server: JoinHandle<()>,
    plugins: mpsc::Receiver<Plugin>,
}

/// A plugin that registered and sent its first list.
pub struct Plugin {
    /// For its other calls.
    pub client: PluginClient,
    /// Its first list.
    pub devices: Vec<Device>,
    /// When that list had arrived.
    pub listed: Instant,
    /// NVML calls on the node by then: counted at once, since the plugin goes on with its topology.
    pub calls: u64,
    /// Ends the stream when dropped.
    _stream: tonic::Streaming<kubelet_api::deviceplugin::v1beta1::ListAndWatchResponse>,
}

impl Kubelet {
    /// Does what a starting kubelet does to its plugin folder: removes all sockets, creates its own.
    pub fn start(node: &Node) -> Result<Kubelet> {
        let dir = &node.plugin_dir();
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            if std::os::unix::fs::FileTypeExt::is_socket(&entry.file_type()?) {
                remove(&entry.path())?;
            }
        }
        let socket = dir.join(KUBELET_SOCKET_NAME);
        let listener =
            UnixListener::bind(&socket).with_context(|| format!("cannot bind {}", socket.display()))?;
        let born = Instant::now();
        let (sender, plugins) = mpsc::channel(16);
        let service =
            RegistrationServer::new(Registrar { dir: dir.to_owned(), calls: node.call_counter(), sender });
        let server = tokio::spawn(async move {
            // Ends with the task; an error here shows as a missing registration.
            let _ = Server::builder().serve_with_incoming(service, UnixListenerStream::new(listener)).await;
        });
        Ok(Kubelet { born, server, plugins })
    }

    /// Ends this life as a stopping kubelet does, and begins the next.
    pub async fn restart(mut self, node: &Node) -> Result<Kubelet> {
        self.server.abort();
        // The old socket must refuse before the new one appears. The error says that it was aborted.
        let _ = (&mut self.server).await;
        Kubelet::start(node)
    }

    /// The next plugin that registers.
    pub async fn plugin(&mut self, patience: Duration) -> Result<Plugin> {
        match tokio::time::timeout(patience, self.plugins.recv()).await {
            Ok(Some(plugin)) => Ok(plugin),
            Ok(None) => bail!("the kubelet stand-in ended"),
            Err(_) => bail!("no plugin registered within {patience:?}"),
        }
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Removes a socket, which its own plugin may do at the same moment.
fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

struct Registrar {
    dir: PathBuf,
    calls: CallCounter,
    sender: mpsc::Sender<Plugin>,
}

#[tonic::async_trait]
impl Registration for Registrar {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<Empty>, Status> {
        let request = request.into_inner();
        if request.version != VERSION {
            return Err(Status::invalid_argument(format!("version {}", request.version)));
        }
        let path = self.dir.join(&request.endpoint);
        let endpoint = Endpoint::from_shared(format!("unix://{}", path.display()))
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let channel = endpoint.connect().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut client = DevicePluginClient::new(channel).max_decoding_message_size(4 << 20);
        client.get_device_plugin_options(Empty {}).await?;
        let (sender, calls) = (self.sender.clone(), self.calls.clone());
        tokio::spawn(async move {
            let Ok(stream) = client.list_and_watch(Empty {}).await else { return };
            let mut stream = stream.into_inner();
            if let Ok(Some(list)) = stream.message().await {
                let listed = Instant::now();
                let Ok(calls) = calls.count() else { return };
                let plugin = Plugin { client, devices: list.devices, listed, calls, _stream: stream };
                // Nobody waits any more: the measure is over.
                let _ = sender.send(plugin).await;
            }
        });
        Ok(Response::new(Empty {}))
    }
}
