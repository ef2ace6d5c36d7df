//! One resource towards the kubelet: its gRPC server, its registration and its streams, for as long as it is offered.
//!
//! ```text
//!   nothing offered ---> serving, registered ---> withdrawn: the kubelet gets an empty list, then the socket goes
//!          ^                                                          |
//!          +----------------------------------------------------------+
//! ```
//!
//! Other resources keep their sockets and streams meanwhile.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use daemon::files::Files;
use gpu_model::ResourceName;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::cdi_gate::CdiGate;
use crate::config::Instance;
use crate::held::Granted;
use crate::kubelet_view::KubeletView;
use crate::leases::HandedLists;
use crate::metrics::{Metrics, ResourceMetrics};
use crate::registration::{REGISTER_TIMEOUT, Registration, RegistrationEnded};
use crate::rpc::Service;
use crate::socket::{Acceptor, Connection, SocketNames};
use crate::standing::{Standing, Standings};
use crate::state::Snapshot;
use crate::streams::{self, Streams};

/// Connections that were accepted and not served yet.
const ACCEPT_BACKLOG: usize = 16;

/// Streams at once on one connection. The kubelet has one connection and a few calls.
const MAX_CALLS: u32 = 64;

/// How long calls may take to end after the request to stop.
const DRAIN: Duration = Duration::from_secs(1);

/// How long the kubelet may take to fetch the empty list of a resource that is withdrawn.
const FAREWELL: Duration = Duration::from_secs(5);

/// What the endpoints of all resources share.
#[derive(Clone)]
pub struct Surroundings {
    /// What tells this process from any other one.
    pub instance: Instance,
    /// The kubelet's socket and folder.
    pub kubelet: KubeletView,
    /// The kubelet's pod resources socket.
    pub pod_resources: PathBuf,
    /// The thread for file work.
    pub files: Files,
    /// Whether a runtime resolves CDI names.
    pub cdi: watch::Receiver<CdiGate>,
    /// Counts.
    pub metrics: Metrics,
    /// Readiness of the registrations.
    pub standings: Standings,
    /// Told what is granted.
    pub granted: mpsc::UnboundedSender<Granted>,
    /// Told once a kubelet has a device list.
    pub handed: watch::Sender<bool>,
    /// Told which list the kubelet's stream of each resource has.
    pub lists: watch::Sender<HandedLists>,
}

/// The endpoint of one resource.
pub struct Endpoint {
    resource: ResourceName,
    state: watch::Receiver<Snapshot>,
    with: Surroundings,
    metrics: ResourceMetrics,
    names: SocketNames,
    /// Its registration as `/ready` knows it, until it serves for the first time.
    standing: Option<Standing>,
}

/// How one period of serving ended.
enum Ended {
    Stopped,
    Withdrawn,
    Registration(RegistrationEnded),
}

impl Endpoint {
    /// An endpoint that offers what `state` says.
    pub fn new(resource: ResourceName, state: watch::Receiver<Snapshot>, with: Surroundings) -> Self {
        let names = SocketNames::new(&resource, with.instance.pid, with.instance.token);
        let metrics = with.metrics.of(&resource);
        let standing = Some(with.standings.of(&resource));
        Self { resource, state, with, metrics, names, standing }
    }

    /// What it offers.
    pub fn resource(&self) -> &ResourceName {
        &self.resource
    }

    /// Offers the resource until the daemon stops.
    ///
    /// # Errors
    /// When the process has to start anew.
    pub async fn run(mut self, stop: daemon::Shutdown) -> anyhow::Result<()> {
        loop {
            let offered = self.state.wait_for(|state| !state.is_empty());
            let is_offered = tokio::select! {
                offered = offered => offered.is_ok(),
                () = stop.requested() => false,
            };
            if !is_offered {
                return Ok(());
            }
            match self.serve(&stop).await? {
                Ended::Stopped => return Ok(()),
                Ended::Registration(ended) => return Err(ended.into()),
                Ended::Withdrawn => tracing::info!(resource = %self.resource, "not offered any more"),
            }
        }
    }

    /// Serves and stays registered. The own socket goes last, when the calls under way are answered.
    async fn serve(&mut self, stop: &daemon::Shutdown) -> anyhow::Result<Ended> {
        let streams = Streams::new(self.state.clone(), streams::MIN_GAP);
        let stopping = CancellationToken::new();
        let (accepted, connections) = mpsc::channel::<io::Result<Connection>>(ACCEPT_BACKLOG);
        // In this task, so that a panic in it ends the daemon.
        let mut server =
            std::pin::pin!(Server::builder().max_concurrent_streams(MAX_CALLS).serve_with_incoming_shutdown(
                self.service(&streams, &stopping).into_server(),
                ReceiverStream::new(connections),
                stopping.clone().cancelled_owned(),
            ));
        let mut registered = std::pin::pin!(self.registration(&streams, accepted).run());
        self.names.renew_far();
        let counting = std::pin::pin!(count(&streams, &self.resource, &self.metrics, &self.with));
        let withdrawn = std::pin::pin!(withdrawn(self.state.clone(), &streams));
        let ended = tokio::select! {
            biased;
            () = stop.requested() => Ended::Stopped,
            served = &mut server => {
                served.context("the gRPC server failed")?;
                anyhow::bail!("the gRPC server ended by itself");
            }
            ended = &mut registered => match ended {
                Ok(()) => Ended::Stopped,
                Err(ended) => Ended::Registration(ended),
            },
            () = withdrawn => Ended::Withdrawn,
            () = counting => Ended::Stopped,
        };
        stopping.cancel();
        match timeout(DRAIN, server).await {
            Ok(served) => served.context("the gRPC server failed")?,
            Err(_) => tracing::warn!(resource = %self.resource, "calls were still open at the end"),
        }
        self.metrics.registered(false);
        self.metrics.streams(0, 0);
        note_list(&self.with.lists, &self.resource, None);
        self.metrics.kubelet_stream(false);
        Ok(ended)
    }

    fn service(&self, streams: &Streams, stopping: &CancellationToken) -> Service {
        Service {
            state: self.state.clone(),
            streams: streams.clone(),
            cdi: self.with.cdi.clone(),
            granted: self.with.granted.clone(),
            metrics: self.metrics.clone(),
            stopping: stopping.clone(),
        }
    }

    fn registration(
        &mut self,
        streams: &Streams,
        accepted: mpsc::Sender<io::Result<Connection>>,
    ) -> Registration {
        let standing = self.standing.take().unwrap_or_else(|| self.with.standings.of(&self.resource));
        Registration {
            resource: self.resource.clone(),
            names: self.names.clone(),
            kubelet: self.with.kubelet.clone(),
            pod_resources: self.with.pod_resources.clone(),
            files: self.with.files.clone(),
            acceptor: Acceptor::new(accepted),
            state: self.state.clone(),
            cdi: self.with.cdi.clone(),
            streams: streams.clone(),
            timeout: REGISTER_TIMEOUT,
            metrics: self.metrics.clone(),
            standing,
        }
    }
}

/// Counts the streams, and tells which list they have.
async fn count(streams: &Streams, resource: &ResourceName, metrics: &ResourceMetrics, with: &Surroundings) {
    let mut status = streams.status();
    let (mut stream, mut skipped) = (None, 0);
    loop {
        let now = *status.borrow_and_update();
        metrics.streams(now.live, now.sent);
        note_list(&with.lists, resource, now.kubelet.has_list());
        metrics.skipped(now.skipped.saturating_sub(skipped));
        skipped = now.skipped;
        if now.kubelet.stream() != stream {
            stream = now.kubelet.stream();
            metrics.kubelet_stream(stream.is_some());
        }
        if now.sent > 0 {
            with.handed.send_if_modified(|handed| !std::mem::replace(handed, true));
        }
        if status.changed().await.is_err() {
            return;
        }
    }
}

fn note_list(lists: &watch::Sender<HandedLists>, resource: &ResourceName, generation: Option<u64>) {
    lists.send_if_modified(|lists| match generation {
        Some(generation) => lists.insert(resource.clone(), generation) != Some(generation),
        None => lists.remove(resource).is_some(),
    });
}

/// Waits until nothing is offered any more and the kubelet knows, or does not ask.
async fn withdrawn(mut state: watch::Receiver<Snapshot>, streams: &Streams) {
    loop {
        let Ok(generation) = state.wait_for(|state| state.is_withdrawn()).await.map(|state| state.generation)
        else {
            return std::future::pending().await;
        };
        let mut status = streams.status();
        let told = status.wait_for(|status| status.kubelet.has_list().is_none_or(|sent| sent >= generation));
        let _ = timeout(FAREWELL, told).await;
        // It may have come back meanwhile.
        if state.borrow().is_withdrawn() {
            return;
        }
    }
}
