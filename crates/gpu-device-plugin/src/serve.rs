//! Wires the parts together and runs them until the daemon is told to end.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use nvml::Nvml;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::cdi_gate::{self, CdiGate};
use crate::config::Config;
use crate::files::Files;
use crate::kubelet_socket::KubeletWatch;
use crate::metrics::{Metrics, NvmlMetrics};
use crate::observe::{Components, Observer};
use crate::registration::{REGISTER_TIMEOUT, Registration};
use crate::report::{self, Reporter};
use crate::rpc::Service;
use crate::socket::{Acceptor, Connection};
use crate::spec_file::SpecFile;
use crate::state::Publisher;
use crate::streams::{self, Streams};

/// Connections that were accepted and not served yet.
const ACCEPT_BACKLOG: usize = 16;

/// Streams at once on one connection. The kubelet has one connection and a few calls.
const MAX_CALLS: u32 = 64;

/// How long calls may take to end after the request to stop.
const DRAIN: Duration = Duration::from_secs(1);

/// Serves until a signal or a failure, and gives the exit code.
pub async fn serve(config: Config, args: &daemon::RuntimeArgs) -> ExitCode {
    let runtime = match daemon::Runtime::start(args, crate::ABOUT).await {
        Ok(runtime) => runtime,
        Err(error) => return daemon::fail(&error),
    };
    match wire(config, &runtime) {
        Ok(()) => runtime.run_until_done().await,
        Err(error) => {
            tracing::error!(error = %format!("{error:#}"), "cannot start");
            ExitCode::from(1)
        }
    }
}

fn wire(config: Config, runtime: &daemon::Runtime) -> anyhow::Result<()> {
    let Config {
        resource,
        kubelet_socket,
        socket_names,
        driver,
        nvml,
        cdi_dir,
        cdi_gate,
        run_dir,
        probe_interval,
    } = config;
    let readiness = runtime.readiness();
    let metrics = Metrics::register(&runtime.registry(), &resource)?;
    let (publisher, state) = Publisher::new(resource.clone());
    let streams = Streams::new(state.clone(), streams::MIN_GAP);
    let (gate, cdi) = watch::channel(CdiGate::Closed);
    let (accepted, connections) = mpsc::channel(ACCEPT_BACKLOG);

    let nvml = Nvml::start(nvml, driver.library_source())?;
    NvmlMetrics::register(&runtime.registry(), nvml.status())?;
    let (findings, found) = watch::channel(None);
    let files = Files::start().context("no thread for file work")?;
    // Its own thread: the report's readers are other daemons, and a search that hangs is not theirs.
    let report_files = Files::start().context("no thread for the report")?;
    let reporter = Reporter::new(&run_dir, &driver.host, report_files, report::LOOK);
    let spec = SpecFile::new(cdi_dir, driver.host.clone());
    let observer = Observer {
        files: files.clone(),
        cdi: cdi.clone(),
        findings,
        driver,
        nvml: nvml.clone(),
        publisher,
        streams: streams.status(),
        probe_interval,
        metrics: metrics.clone(),
        components: Components {
            driver: readiness.component("driver"),
            nodes: readiness.component("device-nodes"),
            spec: readiness.component("cdi-spec").into(),
            devices: readiness.component("devices"),
            topology: readiness.component("topology"),
        },
    };
    let registration = Registration {
        resource,
        names: socket_names,
        kubelet: KubeletWatch::new(kubelet_socket),
        acceptor: Acceptor::new(accepted),
        files,
        state: state.clone(),
        cdi: cdi.clone(),
        streams: streams.clone(),
        timeout: REGISTER_TIMEOUT,
        metrics: metrics.clone(),
        component: readiness.component("kubelet"),
    };
    let stopping = CancellationToken::new();
    let service = Service {
        state,
        streams: streams.clone(),
        cdi,
        metrics: metrics.clone(),
        stopping: stopping.clone(),
    };

    let stop = runtime.shutdown();
    runtime.spawn_vital("observer", {
        let stop = stop.clone();
        async move {
            let ended = tokio::select! {
                ended = observer.run(spec) => ended,
                () = stop.requested() => Ok(()),
            };
            nvml.shutdown().await;
            ended
        }
    });
    runtime.spawn_vital("report", {
        let stop = stop.clone();
        async move {
            // A write that hangs is not waited for.
            tokio::select! {
                ended = reporter.run(found) => ended,
                () = stop.requested() => Ok(()),
            }
        }
    });
    runtime.spawn_vital("stream-metrics", count_streams(streams, metrics, stop.clone()));
    let gate = cdi_gate::keep(cdi_gate, gate, readiness.component("cdi"));
    runtime
        .spawn_vital("kubelet", run_kubelet_side(registration, gate, service, connections, stop, stopping));
    Ok(())
}

/// Serves, keeps the proof of CDI and stays registered: in one task, since looks of both fall on the same beat and then
/// wake one thread. The own socket goes last, when the calls under way are answered.
async fn run_kubelet_side(
    registration: Registration,
    gate: impl Future<Output = ()>,
    service: Service,
    connections: mpsc::Receiver<io::Result<Connection>>,
    stop: daemon::Shutdown,
    stopping: CancellationToken,
) -> anyhow::Result<()> {
    // In this task, so that a panic in it ends the daemon.
    let mut server =
        std::pin::pin!(Server::builder().max_concurrent_streams(MAX_CALLS).serve_with_incoming_shutdown(
            service.into_server(),
            ReceiverStream::new(connections),
            stopping.clone().cancelled_owned(),
        ));
    let mut registered = std::pin::pin!(registration.run());
    let gate = std::pin::pin!(gate);
    let ended = tokio::select! {
        biased;
        () = stop.requested() => None,
        served = &mut server => {
            served.context("the gRPC server failed")?;
            anyhow::bail!("the gRPC server ended by itself");
        }
        ended = &mut registered => Some(ended),
        () = gate => anyhow::bail!("nobody keeps the proof of CDI any more"),
    };
    stopping.cancel();
    match tokio::time::timeout(DRAIN, server).await {
        Ok(served) => served.context("the gRPC server failed")?,
        Err(_) => tracing::warn!("calls were still open at the end"),
    }
    match ended {
        Some(Err(error)) => Err(error.into()),
        _ => Ok(()),
    }
}

async fn count_streams(streams: Streams, metrics: Metrics, stop: daemon::Shutdown) -> anyhow::Result<()> {
    let mut status = streams.status();
    loop {
        let now = *status.borrow_and_update();
        metrics.streams(now.live, now.sent);
        tokio::select! {
            changed = status.changed() => if changed.is_err() { return Ok(()) },
            () = stop.requested() => return Ok(()),
        }
    }
}
