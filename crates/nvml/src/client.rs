//! The serving process's side: starts the workers and asks them. It never loads NVML.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gpu_model::{DetailSet, Details, Inventory, Topology};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use worker::{CallError, Deadlines, Launch, Spec, StartError, Worker};

use crate::events::Streams;
use crate::protocol::{Answer, EVENTS, QUERIES, Query, Subject};
use crate::reach::Reach;
use crate::suspects::{Suspects, Touch, blame};
use crate::{Code, EventStream, GpuAt, NvmlError, Probe, Status};

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
    /// Longest time of one wait for events. Each end of one wakes the node, and a wait that hangs is noticed
    /// a query's deadline after it. Default: one minute.
    pub event_wait: Duration,
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
            event_wait: Duration::from_secs(60),
            extra_env: Vec::new(),
        }
    }
}

/// An NVML library to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    path: PathBuf,
    is_staged: bool,
}

impl Library {
    /// The library in a folder that holds the driver's libraries and nothing else: the worker's loader
    /// searches it for those that the library asks for later, such as CUDA's.
    pub fn staged(path: impl Into<PathBuf>) -> Library {
        Library { path: path.into(), is_staged: true }
    }

    /// The library wherever it is. Its folder is not searched: it may be the host's whole library folder,
    /// whose glibc does not go with this program's.
    pub fn alone(path: impl Into<PathBuf>) -> Library {
        Library { path: path.into(), is_staged: false }
    }
}

/// Gives the NVML library by its full path, asked anew at each worker start, on a thread of its own.
///
/// An error is the reason why there is none; the operation then fails with [`NvmlError::NoDriver`] at
/// once, and the next operation asks again.
pub type LibrarySource = Arc<dyn Fn() -> Result<Library, String> + Send + Sync>;

/// GPUs that one question may give up on before it fails as a whole.
const MAX_BLAMED: usize = 2;

/// NVML behind its workers. Clones share them; the last one to be dropped ends them.
#[derive(Clone, Debug)]
pub struct Nvml {
    queries: Worker,
    events: Worker,
    streams: Streams,
    suspects: Arc<Mutex<Suspects>>,
    reach: Arc<Mutex<Reach>>,
    event_wait: Duration,
    /// Pause before a GPU is asked again whose call hung or crashed; it doubles.
    suspicion: Duration,
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
            streams: Streams::default(),
            suspects: Arc::new(Mutex::new(Suspects::new(config.deadlines.query))),
            reach: Arc::default(),
            event_wait: config.event_wait,
            suspicion: config.deadlines.query,
            status,
        })
    }

    /// What GPUs the node has: at most 64 NVML calls for 8 GPUs of one model, initialisation included.
    /// A GPU that cannot be identified stands among the failures; so does one whose call hangs or crashes
    /// (with a code of [`gpu_model::failure`]), and it is asked again after a pause that doubles.
    ///
    /// `numa_node` is left [`gpu_model::Reading::NotSupported`]: sysfs tells it without NVML
    /// (`node-host`).
    ///
    /// # Errors
    /// When the driver as a whole does not answer.
    pub async fn inventory(&self) -> Result<Inventory, NvmlError> {
        self.ask(Subject::Inventory).await
    }

    /// What the GPUs say of themselves beyond the inventory, as far as it is wanted. The GPUs are those of the last
    /// inventory, if the worker that took it still runs; they are then not identified again, so a fabric costs one call
    /// for each GPU, and one for each model that joins none. A GPU whose calls hang or crash is left out of the details
    /// for a while, and of nothing else.
    ///
    /// # Errors
    /// When the driver as a whole does not answer.
    pub async fn details(&self, wanted: &DetailSet) -> Result<Details, NvmlError> {
        self.ask(Subject::Details(wanted.clone())).await
    }

    /// How the GPUs are wired. Slow on NVLink machines: ask after the inventory is served. A GPU that does
    /// not answer is left out.
    ///
    /// # Errors
    /// When the driver as a whole does not answer.
    pub async fn topology(&self) -> Result<Topology, NvmlError> {
        self.ask(Subject::Topology).await
    }

    /// Whether each GPU answers, and what it says of itself: seven calls each, eight on a driver without recovery actions. One whose
    /// call hangs or crashes fails its probe alone, as in [`Nvml::inventory`].
    ///
    /// # Errors
    /// When the driver as a whole does not answer.
    pub async fn probe(&self) -> Result<Vec<Probe>, NvmlError> {
        self.ask(Subject::Probe).await
    }

    /// The node's critical events, through the second worker, which starts when the stream is first
    /// waited for and ends when it is dropped. There is one stream at a time: a second one begins with a gap
    /// that says so, and with its events when the first is dropped.
    pub fn events(&self) -> EventStream {
        let status = self.status.subscribe();
        EventStream::new(
            self.events.clone(),
            status,
            &self.streams,
            self.reach(),
            self.event_wait,
            self.suspicion,
        )
    }

    /// Leaves every GPU alone but these from the next question on, and in the next stream of events; without a list all
    /// are asked again. Handles that a worker has stay until [`Nvml::release`]. With an empty list ask nothing: a
    /// question about no GPU initialises the library all the same.
    pub fn confine(&self, to: Option<Vec<GpuAt>>) {
        *self.reach.lock().unwrap_or_else(PoisonError::into_inner) = to;
    }

    fn reach(&self) -> Reach {
        self.reach.lock().unwrap_or_else(PoisonError::into_inner).clone()
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

    /// Ends the workers' processes, and with them every handle on a GPU, and keeps the client: a later
    /// question starts them again. Drop the event stream first, or it does so by itself.
    ///
    /// Returns when all have gone, those that were given up too. One that hangs in the driver may take for
    /// ever: put a timeout around this.
    ///
    /// # Errors
    /// After [`Nvml::shutdown`].
    pub async fn release(&self) -> Result<(), NvmlError> {
        self.queries.release().await?;
        Ok(self.events.release().await?)
    }

    /// Asks about all GPUs, again without those that the worker did not survive, and again with each suspect
    /// whose pause is over.
    async fn ask<A: DeserializeOwned + Send + 'static>(&self, about: Subject) -> Result<A, NvmlError> {
        let touch = match &about {
            Subject::Inventory | Subject::Probe => Touch::Gpu,
            Subject::Details(_) => Touch::Details,
            Subject::Topology => Touch::Wiring,
        };
        let (mut crashed, mut blamed) = (BTreeSet::new(), 0);
        // A worker that still hangs in the driver says that its GPU does too. And once a question has met
        // trouble, it is answered about those that are known to be well.
        let mut retry = self.status.borrow().queries.abandoned == 0;
        loop {
            let skip = self.suspects().excused(touch, Instant::now(), retry);
            let query = Query { about: about.clone(), reach: self.reach(), skip: skip.clone() };
            let error = match self.queries.ask::<Answer<A>>(&query).await {
                Ok(Err(refusal)) => return Err(self.without_answer(refusal.into())),
                Ok(Ok(answer)) => {
                    self.suspects().answered(touch, &skip);
                    // As long as they answer, a question has all back whose pause is over.
                    if retry && self.suspects().is_due(touch, Instant::now()) {
                        continue;
                    }
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let Some(failure) = blame(&error) else { return Err(self.without_answer(error.into())) };
            retry = false;
            // A first crash leaves nothing behind and may be the only one: another chance at once.
            if matches!(error, CallError::Crashed { .. })
                && !self.suspects().knows(touch, failure.index)
                && blamed < MAX_BLAMED
                && crashed.insert(failure.index)
            {
                continue;
            }
            tracing::warn!(
                gpu = failure.index,
                call = failure.call,
                reason = %Code::from(failure.code),
                "GPU is left out of the next questions to NVML"
            );
            self.suspects().blame(touch, failure, Instant::now());
            blamed += 1;
            if blamed > MAX_BLAMED {
                return Err(error.into());
            }
        }
    }

    /// Nothing is known any more of the GPUs of a driver that has gone.
    fn without_answer(&self, error: NvmlError) -> NvmlError {
        if error.ends_the_driver() {
            self.suspects().forget_all();
        }
        error
    }

    fn suspects(&self) -> MutexGuard<'_, Suspects> {
        // A panic while it is held leaves whole suspects.
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner)
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
        let Library { path, is_staged } = library()?;
        if !path.is_absolute() {
            return Err(format!("the NVML library {} is not named by its full path", path.display()));
        }
        let folder = path.parent().filter(|_| is_staged);
        let mut env: Vec<(OsString, OsString)> =
            folder.map(|folder| ("LD_LIBRARY_PATH".into(), folder.into())).into_iter().collect();
        env.extend(extra_env.iter().cloned());
        Ok(Launch { argument: path.into_os_string(), env })
    })
}
