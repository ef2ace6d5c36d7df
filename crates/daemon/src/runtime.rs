//! A daemon's life, from its first log line to its exit code.
//!
//! ```text
//! start: logs, signals caught, admin server listening  ->  tasks run  --SIGTERM, SIGINT, or a task failed-->  drain
//! drain: /ready says shutting-down, tasks end  ->  exit 0, or 1
//!        deadline passed                       ->  the late tasks named in the log, exit 1
//!        second signal                         ->  exit 128 + signal at once
//! ```

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use prometheus::Registry;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::admin::{self, Admin};
use crate::args::RuntimeArgs;
use crate::build::{About, BuildInfo};
use crate::hang_ups;
use crate::log;
use crate::metrics;
use crate::readiness::{Component, Readiness};
use crate::shutdown::{Shutdown, Signals};
use crate::tasks::{self, Ending, Tasks};

/// What every daemon has: readiness, metrics, tasks, a way to end.
#[derive(Debug)]
pub struct Runtime {
    registry: Registry,
    readiness: Readiness,
    own_component: Component,
    shutdown: Shutdown,
    tasks: Tasks,
    tending: JoinHandle<Ending>,
    admin: Admin,
    signals: Signals,
    drain_deadline: Duration,
}

/// A daemon that could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Signals could not be caught.
    #[error("cannot catch signals")]
    Signals(#[source] io::Error),
    /// A metric could not be registered.
    #[error("cannot set up metrics")]
    Metrics(#[from] prometheus::Error),
    /// The admin server could not listen.
    #[error(transparent)]
    Admin(#[from] admin::BindError),
}

impl Runtime {
    /// Sets up logs (from then on [`crate::fail`] speaks there, of the error of this call too), catches signals, and answers on the admin port, not ready yet.
    pub async fn start(args: &RuntimeArgs, about: About) -> Result<Runtime, StartError> {
        log::init(&args.log_level, args.log_format);
        let build = BuildInfo::of(about.name);
        tracing::info!(name = build.name, version = build.version, commit = build.commit, "starting");

        // Before anything listens: whoever sees us answer may send a signal.
        let signals = Signals::install().map_err(StartError::Signals)?;
        let registry = metrics::registry(&build)?;
        let readiness = Readiness::with_gauge(metrics::component_ready(&registry)?);
        let own_component = readiness.component("runtime");
        let shutdown = Shutdown::new();

        let sources = admin::Sources { readiness: readiness.clone(), registry: registry.clone(), build };
        let admin = match args.admin_address {
            Some(address) => Admin::bind(address, admin::Limits::default(), sources).await?,
            None => bind_everywhere(about.admin_port, sources).await?,
        };
        tracing::info!(address = %admin.address(), "admin server listening");

        let (tasks, new) = tasks::channel();
        let tending = tokio::spawn(tasks::tend(new, shutdown.clone(), args.drain_deadline));
        let drain_deadline = args.drain_deadline;
        Ok(Runtime {
            registry,
            readiness,
            own_component,
            shutdown,
            tasks,
            tending,
            admin,
            signals,
            drain_deadline,
        })
    }

    /// The registry that `/metrics` shows.
    pub fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// The readiness that `/ready` shows. It is not ready before [`Runtime::run_until_done`], so that no moment
    /// without components looks ready.
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// The request to end.
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// A handle by which tasks start further tasks.
    pub fn tasks(&self) -> Tasks {
        self.tasks.clone()
    }

    /// Where the admin server listens.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Starts a task; see [`Tasks::spawn`].
    pub fn spawn<F, E>(&self, name: impl Into<String>, future: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.tasks.spawn(name, future);
    }

    /// Starts a task that has to run until the request to end; see [`Tasks::spawn_vital`].
    pub fn spawn_vital<F, E>(&self, name: impl Into<String>, future: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.tasks.spawn_vital(name, future);
    }

    /// Starts a task that is dropped at the request to end, and must not end before: what it is at then is not waited for.
    pub fn spawn_until_stopped<F, E>(&self, name: impl Into<String>, future: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
    {
        let stop = self.shutdown();
        self.spawn_vital(name, async move {
            tokio::select! {
                ended = future => ended,
                () = stop.requested() => Ok(()),
            }
        });
    }

    /// Counts the SIGHUPs: each asks for a look at everything now.
    ///
    /// # Errors
    /// When the signal cannot be caught.
    pub fn hang_ups(&self) -> io::Result<watch::Receiver<u64>> {
        hang_ups::count(self)
    }

    /// Runs until a signal, a failed task or a request ends the daemon, and gives its exit code. Call it when all
    /// components of the readiness are there.
    pub async fn run_until_done(mut self) -> ExitCode {
        self.own_component.ready();
        // A drain that a failed task began is none that a person asked for: only signals count.
        let (mut draining, mut signalled) = (false, false);
        loop {
            tokio::select! {
                signal = self.signals.next() => {
                    if signalled {
                        tracing::warn!(signal = signal.as_raw_value(), "second signal: ending at once");
                        return signal_code(signal.as_raw_value());
                    }
                    signalled = true;
                    tracing::info!(
                        signal = signal.as_raw_value(),
                        deadline_s = self.drain_deadline.as_secs_f64(),
                        "signal received: draining"
                    );
                    self.shutdown.request();
                }
                () = self.shutdown.requested(), if !draining => {
                    draining = true;
                    self.own_component.not_ready("shutting-down", "the daemon is ending");
                }
                ended = &mut self.tending => return code(ended),
            }
        }
    }
}

fn code(ended: Result<Ending, tokio::task::JoinError>) -> ExitCode {
    match ended {
        Ok(Ending::Drained) => {
            tracing::info!("drained");
            ExitCode::SUCCESS
        }
        Ok(Ending::Failed) => ExitCode::from(1),
        Ok(Ending::Late(tasks)) => {
            tracing::error!(tasks = tasks.join(","), "tasks did not end by the drain deadline");
            ExitCode::from(1)
        }
        Err(error) => {
            tracing::error!(%error, "the tending of tasks failed");
            ExitCode::from(1)
        }
    }
}

/// The code by which shells name an end by a signal.
fn signal_code(signal: i32) -> ExitCode {
    ExitCode::from(u8::try_from(128 + signal).unwrap_or(1))
}

/// Listens on all addresses: of both families where the host has IPv6, else of IPv4.
async fn bind_everywhere(port: u16, sources: admin::Sources) -> Result<Admin, admin::BindError> {
    let limits = admin::Limits::default;
    match Admin::bind((Ipv6Addr::UNSPECIFIED, port).into(), limits(), sources.clone()).await {
        Err(error) if error.lacks_family() => {
            Admin::bind((Ipv4Addr::UNSPECIFIED, port).into(), limits(), sources).await
        }
        other => other,
    }
}
