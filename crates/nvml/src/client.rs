//! The serving process's side: starts the workers and asks them. It never loads NVML.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gpu_model::{Inventory, Topology};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use worker::{Deadlines, Launch, Spec, StartError, Worker};

use crate::protocol::{Answer, EVENTS, QUERIES, Query};
use crate::{EventStream, NvmlError, Probe, Status};

/// How the workers are run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Longest time without progress, for one NVML call.
    pub deadlines: Deadlines,
    /// Pauses after a worker that crashed, hung or talked nonsense.
    pub backoff: worker::Backoff,
    /// What to execute as the worker. Default: `/proc/self/exe`. Its `main` must ask
    /// [`worker::enter_if_asked`] with [`crate::ROLES`].
    pub program: PathBuf,
    /// Environment of the workers beyond what this crate sets; they inherit nothing. For example
    /// `NVML_SIM_DIR`.
    pub extra_env: Vec<(OsString, OsString)>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            deadlines: Deadlines::default(),
            backoff: worker::Backoff::default(),
            program: PathBuf::from("/proc/self/exe"),
            extra_env: Vec::new(),
        }
    }
}

/// Gives the full path of the NVML library, asked anew at each worker start. The worker's loader
/// searches that library's folder only, so it should be a staged one.
///
/// An error is the reason why there is none; the operation then fails with [`NvmlError::NoDriver`] at
/// once, and the next operation asks again.
pub type LibrarySource = Arc<dyn Fn() -> Result<PathBuf, String> + Send + Sync>;

/// NVML behind its workers. Clones share them; the last one to be dropped ends them.
#[derive(Clone, Debug)]
pub struct Nvml {
    queries: Worker,
    events: Worker,
    status: Arc<watch::Sender<Status>>,
}

impl Nvml {
    /// Starts the threads that tend the workers. Workers themselves start when they are needed, so
    /// this succeeds without a driver.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(config: Config, library: LibrarySource) -> Result<Nvml, StartError> {
        let status = Arc::new(watch::Sender::new(Status::default()));
        let queries = spec(QUERIES, &config, &library);
        let events = spec(EVENTS, &config, &library);
        let (to_queries, to_events) = (Arc::clone(&status), Arc::clone(&status));
        Ok(Nvml {
            queries: Worker::start(queries.observed_by(move |role| {
                to_queries.send_modify(|status| status.queries = role.clone());
            }))?,
            events: Worker::start(events.observed_by(move |role| {
                to_events.send_modify(|status| status.events = role.clone());
            }))?,
            status,
        })
    }

    /// What GPUs the node has: at most 64 NVML calls for 8 GPUs of one model, initialisation included.
    /// A GPU that cannot be identified stands among the failures.
    ///
    /// `numa_node` is left [`gpu_model::Reading::NotSupported`]: sysfs tells it without NVML
    /// (`node-host`).
    ///
    /// # Errors
    /// When the driver as a whole does not answer.
    pub async fn inventory(&self) -> Result<Inventory, NvmlError> {
        self.ask(Query::Inventory).await
    }

    /// How the GPUs are wired. Slow on NVLink machines: ask after the inventory is served.
    ///
    /// # Errors
    /// When the driver as a whole does not answer.
    pub async fn topology(&self) -> Result<Topology, NvmlError> {
        self.ask(Query::Topology).await
    }

    /// Whether each GPU answers: three calls each, four on a driver without recovery actions.
    ///
    /// # Errors
    /// When the driver as a whole does not answer.
    pub async fn probe(&self) -> Result<Vec<Probe>, NvmlError> {
        self.ask(Query::Probe).await
    }

    /// The node's critical events, through the second worker, which starts when the stream is first
    /// waited for and ends when it is dropped.
    pub fn events(&self) -> EventStream {
        EventStream::new(self.events.clone())
    }

    /// How the workers are, now and on each change.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Ends the workers, and with them every handle on a GPU. Never waits for NVML: a worker that
    /// hangs in the driver is left to the kernel.
    pub async fn shutdown(&self) {
        self.queries.close().await;
        self.events.close().await;
    }

    async fn ask<A: DeserializeOwned + Send + 'static>(&self, query: Query) -> Result<A, NvmlError> {
        Ok(self.queries.ask::<Answer<A>>(&query).await??)
    }
}

/// How to run one role's workers: each start asks for the library anew.
fn spec(role: &'static str, config: &Config, library: &LibrarySource) -> Spec {
    let mut spec = Spec::new(role);
    spec.program.clone_from(&config.program);
    spec.deadlines = config.deadlines;
    spec.backoff = config.backoff;
    let (extra_env, library) = (config.extra_env.clone(), Arc::clone(library));
    spec.prepared_by(move || {
        let path = library()?;
        if !path.is_absolute() {
            return Err(format!("the NVML library {} is not named by its full path", path.display()));
        }
        let folder = path.parent().unwrap_or(Path::new("/"));
        let mut env = vec![("LD_LIBRARY_PATH".into(), folder.as_os_str().to_owned())];
        env.extend(extra_env.iter().cloned());
        Ok(Launch { argument: path.into_os_string(), env })
    })
}
