//! The registry on `kubelet.sock`, and the life of a plugin's connection.
//!
//! `Register`: version and name are checked, the plugin's socket is dialled, its options are asked, and only then is the
//! call answered. After that a task reads the plugin's lists until the stream ends.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use kubelet_api::deviceplugin::{
    VERSION,
    v1beta1::{
        Empty, RegisterRequest, device_plugin_client::DevicePluginClient, registration_server::Registration,
    },
};
use tokio::{sync::oneshot, time::timeout_at};
use tonic::{Request, Response, Status, transport::Channel};

use crate::{
    books::{AlreadyConnected, Endpoint, Tracking},
    dial::dial_patiently,
    events::Event,
    incarnation::{Claim, Incarnation},
    resource_name::is_extended_resource_name,
};

/// Serves [`Registration`].
pub(crate) struct Registry(pub(crate) Arc<Incarnation>);

/// A plugin that was dialled back.
struct Connection {
    number: u64,
    client: DevicePluginClient<Channel>,
}

#[tonic::async_trait]
impl Registration for Registry {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<Empty>, Status> {
        let RegisterRequest { version, endpoint, resource_name: resource, options: _ } = request.into_inner();
        let kubelet = Arc::clone(&self.0);
        let (to, at) = (resource.clone(), endpoint.clone());
        // A task of its own: a caller that hangs up must not leave a registration half done.
        let done = tokio::spawn(async move { register(&kubelet, version, to, at).await }).await;
        let refusal = match done {
            Ok(Ok(())) => return Ok(Response::new(Empty {})),
            Ok(Err(refusal)) => refusal,
            Err(failure) => failure.to_string(),
        };
        self.0.events.push(Event::RegistrationRefused { resource, endpoint, reason: refusal.clone() });
        // The real kubelet returns plain Go errors, which gRPC turns into this code.
        Err(Status::unknown(refusal))
    }
}

async fn register(
    kubelet: &Arc<Incarnation>,
    version: String,
    resource: String,
    endpoint: String,
) -> Result<(), String> {
    if version != VERSION {
        return Err(format!("API version {version:?} is not supported; supported is {VERSION:?}"));
    }
    if !is_extended_resource_name(&resource) {
        return Err(format!("{resource:?} is not the name of an extended resource"));
    }
    let claim = kubelet.expect_end_of(&resource, &endpoint);
    match connect(kubelet, &resource, &endpoint).await {
        Ok(connection) => {
            kubelet.events.push(Event::Registered { resource, endpoint });
            let (drop, dropped) = oneshot::channel();
            let reader = follow(Arc::clone(kubelet), connection, claim.clone(), dropped);
            kubelet.reads(&claim, drop, tokio::spawn(reader));
            Ok(())
        }
        Err(refusal) => {
            kubelet.forget(&claim);
            Err(refusal)
        }
    }
}

async fn connect(kubelet: &Incarnation, resource: &str, endpoint: &str) -> Result<Connection, String> {
    let socket = kubelet.settings.dir.join(endpoint);
    let limit = kubelet.settings.dial_timeout;
    let unreachable = || format!("cannot reach the plugin at {} within {limit:?}", socket.display());
    // The real kubelet's limit covers the dial until the plugin's gRPC server has spoken; here there is no such moment
    // to see, so it covers the options too.
    let deadline = tokio::time::Instant::now() + limit;
    let channel = timeout_at(deadline, dial_patiently(socket.clone())).await.map_err(|_| unreachable())?;
    let (number, mut client) = kubelet.open(channel);
    let refusal = match timeout_at(deadline, client.get_device_plugin_options(Empty {})).await {
        Err(_) => unreachable(),
        Ok(Err(status)) => format!("GetDevicePluginOptions failed: {}", status.message()),
        Ok(Ok(options)) => {
            let options = options.into_inner();
            let endpoint =
                Endpoint { client: Some(number), socket: endpoint.to_owned(), options, stopped: None };
            match kubelet.books().connected(resource, endpoint, kubelet.settings.tracking) {
                Ok(()) => return Ok(Connection { number, client }),
                Err(AlreadyConnected) => format!("a plugin is already connected at {}", socket.display()),
            }
        }
    };
    kubelet.close(number);
    Err(refusal)
}

/// A plugin's connection from its registration to its end, whoever ends it.
async fn follow(
    kubelet: Arc<Incarnation>,
    connection: Connection,
    claim: Claim,
    dropped: oneshot::Receiver<()>,
) {
    let Connection { number, client } = connection;
    let reason = tokio::select! {
        reason = read_lists(&kubelet, client, &claim.resource) => reason,
        Ok(()) = dropped => "the kubelet dropped the stream".to_owned(),
    };
    kubelet.close(number);
    let forgotten = kubelet.forget(&claim);
    match &kubelet.settings.tracking {
        Tracking::Socket => {
            if forgotten.is_some() {
                kubelet.books().disconnected(&claim.resource, &claim.socket, Instant::now());
                let Claim { resource, socket: endpoint, .. } = claim;
                kubelet.events.push(Event::Disconnected { resource, endpoint, reason });
            }
        }
        Tracking::Resource => {
            kubelet.books().closed(&claim.resource, &claim.socket);
            if let Some(last) = forgotten {
                kubelet.disconnect(&last);
                tokio::time::sleep(kubelet.settings.striking_off).await;
                // Whoever has registered meanwhile.
                kubelet.books().lost(&last.resource, Instant::now());
                let Claim { resource, socket: endpoint, .. } = last;
                kubelet.events.push(Event::Disconnected { resource, endpoint, reason });
            }
        }
    }
}

/// Reads a plugin's lists, once streams are opened at all, until the stream ends; returns why it did.
async fn read_lists(
    kubelet: &Incarnation,
    mut client: DevicePluginClient<Channel>,
    resource: &str,
) -> String {
    // The sender lives as long as the kubelet.
    let _ = kubelet.streams.clone().wait_for(|opened| *opened).await;
    let mut lists = match client.list_and_watch(Empty {}).await {
        Ok(lists) => lists.into_inner(),
        Err(status) => return status.message().to_owned(),
    };
    loop {
        match lists.message().await {
            Ok(Some(list)) => {
                let (at, time) = (Instant::now(), SystemTime::now());
                let devices = list.devices.len();
                let healthy = kubelet.books().listed(resource, list.devices);
                kubelet.save();
                let resource = resource.to_owned();
                kubelet.events.push_at(at, time, Event::Listed { resource, devices, healthy });
            }
            Ok(None) => return "the plugin ended the stream".to_owned(),
            Err(status) => return status.message().to_owned(),
        }
    }
}
