//! The observer: the one task that asks the driver, keeps the ledger of health and publishes what is offered.
//!
//! ```text
//!   find driver -> inventory -> CDI spec -> publish -> [kubelet has the list] -> topology, events, probes
//!        ^                                                                               |
//!        +------------- the driver is asked from the start again after a silence --------+
//! ```
//!
//! It knows NVML's client, and files of the host only through the thread for them; it knows nothing of gRPC and waits
//! for no kubelet, apart from leaving it the first second.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config_file::InForce;
use daemon::absent::{finish, until};
use daemon::beat;
use daemon::files::{self, Files, FilesGone};
use gpu_model::{Gpu, GpuFailure, GpuUuid, Inventory, MigUuid, Reading, Topology};
use node_host::{BootId, HostRoot, LocalPath};
use nvml::{Event, Nvml, NvmlError, Probe, next_event};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::affinity::NodeAffinity;
use crate::board::Board;
use crate::cdi_gate::CdiGate;
use crate::health::evidence;
use crate::holders::{Holdings, Use};
use crate::host_devices::HostDevices;
use crate::metrics::Metrics;
use crate::modprobe::Modprobe;
use crate::offering::{Offering, OfferingFlags};
use crate::report::Finding;
use crate::spec_file::{Depth, Kept, SpecFile};

mod health;
mod holding;
mod leasing;
mod management;
mod obstacle;
mod projection;
mod search;
mod silence;
mod spec;
mod topology;

pub use health::Healths;
use holding::Ours;
use leasing::Leased;
pub use leasing::Leasing;
use obstacle::Obstacle;
use topology::Wish;

/// How often the driver is looked for while there is none, and asked again after it failed to start.
pub const SEARCH: Duration = Duration::from_secs(2);

/// How long topology, events and probes leave the processor to the first registration, and this waits for the kubelet to
/// tell who holds what.
const HEAD_START: Duration = Duration::from_secs(1);

/// What the observer says about itself on `/ready`.
pub struct Components {
    /// The driver and NVML.
    pub driver: daemon::Component,
    /// The device nodes that CUDA needs.
    pub nodes: daemon::Component,
    /// The CDI spec on disk.
    pub spec: Arc<daemon::Component>,
    /// The devices themselves.
    pub devices: daemon::Component,
    /// How the GPUs are wired. Never not ready: without it preferences are empty, and all else works.
    pub topology: daemon::Component,
}

/// What the observer works with.
pub struct Observer {
    /// Where the driver may be.
    pub driver: node_driver::Settings,
    /// NVML.
    pub nvml: Nvml,
    /// Makes the device nodes of unified memory where they are missing.
    pub modprobe: Arc<Modprobe>,
    /// What flags and variables say of what is offered.
    pub flags: OfferingFlags,
    /// The config that is in force.
    pub config: watch::Receiver<InForce>,
    /// Counts the requests to look at everything now.
    pub asked: watch::Receiver<u64>,
    /// What pods hold.
    pub holdings: watch::Receiver<Holdings>,
    /// What becomes of that here.
    pub used: watch::Sender<Use>,
    /// What leases want, and what becomes of that.
    pub leasing: Leasing,
    /// The report of the last process, which knows GPUs that must not be touched.
    pub report: LocalPath,
    /// This boot.
    pub boot: Option<BootId>,
    /// Where the states go.
    pub board: Board,
    /// The thread for file work.
    pub files: Files,
    /// Whether a runtime resolves CDI names.
    pub cdi: watch::Receiver<CdiGate>,
    /// What is known of the GPUs' health.
    pub health: Healths,
    /// Where it is told whether CDI is in use.
    pub uses_cdi: watch::Sender<Option<bool>>,
    /// Whether a driver that cannot be used at the start ends the program.
    pub fails_without_driver: bool,
    /// Whether a kubelet has a device list.
    pub first_list: watch::Receiver<bool>,
    /// What the node report is written from.
    pub findings: watch::Sender<Option<Finding>>,
    /// Time between two probes of all GPUs.
    pub probe_interval: Duration,
    /// Counts.
    pub metrics: Metrics,
    /// Readiness.
    pub components: Components,
}

/// Why the observer cannot go on. The daemon ends with it; only a new process helps.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ObserverEnded {
    /// Nobody looks at files any more.
    #[error(transparent)]
    Files(#[from] FilesGone),
    /// Nobody asks the driver any more.
    #[error("the threads that tend NVML have ended")]
    Nvml,
    /// There is no driver to ask, and nobody wants to wait for one.
    #[error("NVML cannot be initialised: {reason} (--fail-on-init-error=false waits for it)")]
    NoDriver {
        /// Why.
        reason: String,
    },
}

/// One question to the query worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Inventory,
    Probe,
    Topology,
}

enum Answer {
    Inventory(Inventory),
    Probe(Vec<Probe>),
    Topology(Topology),
}

type Asking = Pin<Box<dyn Future<Output = (Question, Result<Answer, NvmlError>)> + Send>>;

/// The workers end.
type Releasing = Pin<Box<dyn Future<Output = Result<(), NvmlError>> + Send>>;

/// The spec's file comes back from the thread with what came of it.
type Keeping = Pin<Box<dyn Future<Output = Result<(SpecFile, Kept), FilesGone>> + Send>>;

/// The observer once the driver has answered.
struct Watching {
    with: Observer,
    /// Every GPU that was ever listed, as last seen, in the order of first sight.
    known: Vec<Gpu>,
    inventory: Inventory,
    /// The GPUs of `inventory`.
    listed: Vec<GpuUuid>,
    /// What stands in the way of handing a GPU out although it is healthy.
    lacking: BTreeMap<GpuUuid, String>,
    /// The same for MIG devices.
    mig_lacking: BTreeMap<MigUuid, String>,
    /// What stands in the way of handing any GPU out.
    obstacle: Obstacle,
    topology: Wish,
    /// The spec's file, while nobody works on it.
    spec: Option<SpecFile>,
    /// How closely the spec is to be looked at next, if it is.
    spec_wanted: Option<Depth>,
    /// Questions to ask, most urgent first; one is under way at a time.
    wanted: Vec<Question>,
    /// Whether the last question was answered.
    is_answering: bool,
    /// Whether it was not for want of a driver.
    is_driver_gone: bool,
    /// Why there is no valid CDI spec on disk; none when there is one.
    spec_problem: Option<String>,
    /// Whether there was one, or none was needed.
    had_spec: bool,
    /// What the host has that an answer can name.
    host: Arc<HostDevices>,
    /// What is to be offered; none until there was a config that can be used.
    offering: Option<Offering>,
    /// Why the config that is in force is not taken over: a code, and words.
    refused: Option<(&'static str, String)>,
    /// What a person was told of what is not offered.
    remarks: Vec<String>,
    /// What pods hold of our resources.
    ours: Ours,
    /// What is leased.
    leased: Leased,
    /// How well the GPUs work together, as the last topology says.
    affinity: Arc<NodeAffinity>,
}

impl Observer {
    /// Observes for ever.
    ///
    /// # Errors
    /// When a thread that it cannot do without has died.
    pub async fn run(self, spec: SpecFile) -> Result<(), ObserverEnded> {
        self.components.topology.ready();
        let inventory = self.first_inventory().await?;
        let waits = self.config.borrow().is_none();
        if waits {
            self.wait_for_config().await;
        }
        let leased = Leased::at_start(self.health.ledger.leased());
        let mut watching = Watching {
            with: self,
            known: inventory.gpus.clone(),
            inventory: inventory.clone(),
            listed: Vec::new(),
            lacking: BTreeMap::new(),
            mig_lacking: BTreeMap::new(),
            obstacle: Obstacle::default(),
            topology: Wish::default(),
            spec: Some(spec),
            spec_wanted: Some(Depth::Full),
            wanted: Vec::new(),
            is_answering: true,
            is_driver_gone: false,
            spec_problem: Some("it was not written yet".to_owned()),
            had_spec: false,
            host: Arc::default(),
            offering: None,
            refused: None,
            remarks: Vec::new(),
            ours: Ours::default(),
            leased,
            affinity: Arc::default(),
        };
        watching.begin_leases();
        let found = watching.adopt(inventory);
        if waits {
            watching.want(Question::Inventory);
        }
        // The spec before the first list, which then says at once which GPU lacks its device node.
        if let Some(keeping) = watching.keep_spec() {
            let kept = keeping.await?;
            watching.take_spec(kept);
        }
        watching.learn(&found);
        // What a pod holds must not be offered in another form, be it for a moment.
        let _ = timeout(HEAD_START, watching.with.holdings.wait_for(|holdings| holdings.is_settled)).await;
        watching.adopt_config();
        // The first list before everything else. A kubelet that is not there must not hold up the rest.
        let _ = timeout(HEAD_START, watching.with.first_list.wait_for(|handed| *handed)).await;
        watching.watch().await
    }
}

impl Watching {
    async fn watch(&mut self) -> Result<(), ObserverEnded> {
        let mut events = None;
        let mut releasing = (!self.knows_all()).then(|| release(&self.with.nvml));
        let mut asked_to_release = Instant::now();
        let mut status = self.with.nvml.status();
        let mut probes = beat(self.with.probe_interval);
        let mut repair = beat(SEARCH);
        self.want(Question::Probe);
        self.want_spec(Depth::Glance);
        let mut asking: Option<Asking> = None;
        let mut keeping: Option<Keeping> = None;
        loop {
            // What hangs in the driver may hang for ever: the others are watched all the same after a while.
            let is_free = releasing.is_none() || asked_to_release.elapsed() >= files::PATIENCE;
            let may_ask = is_free && !self.is_quiet();
            let impatience = (!is_free).then(|| asked_to_release + files::PATIENCE);
            if may_ask && events.is_none() {
                events = Some(self.with.nvml.events());
            }
            if may_ask && self.knows_all() && self.topology.take(&self.listed, Instant::now()) {
                self.want(Question::Topology);
            }
            if may_ask && asking.is_none() && !self.wanted.is_empty() {
                if self.wanted.first() == Some(&Question::Probe) {
                    self.with.health.probed = Some(Instant::now());
                }
                asking = Some(ask(&self.with.nvml, self.wanted.remove(0)));
            }
            // While all is leased its files may be another driver's from one moment to the next.
            if keeping.is_none() && !self.is_quiet() {
                keeping = self.keep_spec();
            }
            let health = self.with.health.due();
            let proof = self.with.health.probe_due().filter(|_| asking.is_none() && self.wanted.is_empty());
            let obstacle = self.obstacle.due(Instant::now());
            let topology = self.topology.due(&self.listed).filter(|_| may_ask && self.knows_all());
            let look = self.leased.due();
            let needs_spec = self.spec_problem.is_some();
            let needs_repair = needs_spec || !self.is_answering;
            tokio::select! {
                event = next_event(&mut events) => self.take_event(event.ok_or(ObserverEnded::Nvml)?),
                (question, answer) = finish(&mut asking) => {
                    asking = None;
                    self.take_answer(question, answer)?;
                }
                Ok(()) = status.changed() => self.tell_driver(&status.borrow_and_update()),
                kept = finish(&mut keeping) => {
                    keeping = None;
                    let kept = kept?;
                    if self.take_spec(kept) {
                        self.publish();
                    }
                    if self.has_returning() {
                        self.learn(&[]);
                    }
                }
                _ = probes.tick() => {
                    self.want(Question::Probe);
                    self.want_spec(Depth::Glance);
                }
                _ = repair.tick(), if needs_repair => {
                    if needs_spec {
                        self.want_spec(Depth::Full);
                    }
                    // The next probe may be an hour away, and the GPUs are given up after a minute.
                    if !self.is_answering {
                        self.want(Question::Probe);
                    }
                }
                Ok(()) = self.with.cdi.changed() => self.publish(),
                Ok(()) = self.with.config.changed() => self.adopt_config(),
                Ok(()) = self.with.holdings.changed() => self.publish(),
                Ok(()) = self.with.leasing.claims.changed() => {
                    if self.take_claims() {
                        // What is under way is about other GPUs.
                        (asking, events) = (None, None);
                        releasing = Some(release(&self.with.nvml));
                        asked_to_release = Instant::now();
                    }
                    self.learn(&[]);
                }
                released = finish(&mut releasing) => {
                    releasing = None;
                    released.map_err(|_| ObserverEnded::Nvml)?;
                    self.workers_ended();
                }
                () = until(impatience) => {}
                () = until(look) => self.look_again(),
                Ok(()) = self.with.asked.changed() => {
                    tracing::info!("looking at everything, as asked");
                    self.want(Question::Inventory);
                    self.want_spec(Depth::Full);
                }
                () = until(obstacle) => self.publish(),
                () = until(topology) => {}
                () = until(health) => self.pass_time(),
                () = until(proof) => self.want(Question::Probe),
                Some(ask) = self.with.health.asks.recv() => self.take_ask(ask),
            }
        }
    }

    fn want(&mut self, question: Question) {
        if !self.wanted.contains(&question) {
            self.wanted.push(question);
            self.wanted.sort_by_key(|question| *question as u8);
        }
    }

    fn take_event(&mut self, event: Event) {
        match event {
            Event::Gap { reason } => {
                tracing::info!(reason, "events may have been missed; probing every GPU");
                self.want(Question::Probe);
            }
            Event::MigChange { gpu } => {
                tracing::info!(%gpu, "the MIG mode or instances changed");
                self.want(Question::Inventory);
            }
            Event::Xid { gpu, xid, gpu_instance, .. } => {
                self.take_xid(gpu, xid, gpu_instance);
            }
        }
    }

    fn take_answer(
        &mut self,
        question: Question,
        answer: Result<Answer, NvmlError>,
    ) -> Result<(), ObserverEnded> {
        let answer = match answer {
            Ok(answer) => answer,
            Err(NvmlError::Lost) => return Err(ObserverEnded::Nvml),
            Err(error) => {
                match question {
                    Question::Topology => self.miss_topology(&daemon::error_chain(&error).to_string()),
                    Question::Inventory | Question::Probe => self.take_silence(&error),
                }
                return Ok(());
            }
        };
        if !self.is_answering {
            // The driver may be another one now: its GPUs, files and device numbers are looked at again.
            self.is_answering = true;
            self.is_driver_gone = false;
            self.want(Question::Inventory);
            tracing::info!("NVML answers again");
        }
        match answer {
            Answer::Inventory(inventory) => {
                let found = self.adopt(inventory);
                self.want_spec(Depth::Full);
                self.see_returning();
                self.learn(&found);
            }
            Answer::Topology(topology) => self.take_topology(&topology),
            Answer::Probe(probes) => {
                let newcomers = evidence::newcomers(&self.known, &probes);
                if !newcomers.is_empty() {
                    tracing::info!(?newcomers, "the driver lists GPUs that are new");
                    self.want(Question::Inventory);
                }
                let is_other = |gpu: &&Gpu| probes.iter().any(|probe| probe.is_repartitioned(gpu));
                let repartitioned: Vec<&GpuUuid> =
                    self.inventory.gpus.iter().filter(is_other).map(|gpu| &gpu.uuid).collect();
                if !repartitioned.is_empty() {
                    tracing::info!(?repartitioned, "GPUs are partitioned otherwise by now");
                    self.want(Question::Inventory);
                }
                let found = evidence::of_probe(&self.asked(), &probes);
                self.hear_returning(&found);
                self.learn(&found);
            }
        }
        self.tell_driver(&self.with.nvml.status().borrow());
        if self.wanted.is_empty() {
            tracing::debug!("no question to the driver is open");
        }
        Ok(())
    }

    /// What `/ready` says about a driver that answers: which GPUs it cannot name, and what a worker is stuck in.
    fn tell_driver(&self, status: &nvml::Status) {
        if !self.is_answering {
            return;
        }
        let failures = &self.inventory.failures;
        let nameless = (!failures.is_empty()).then(|| nameless(failures));
        let remarks: Vec<String> = nameless.into_iter().chain(status.trouble()).collect();
        if remarks.is_empty() {
            self.with.components.driver.ready();
        } else {
            self.with.components.driver.ready_but(remarks.join("; "));
        }
    }

    /// Takes the driver's list over. Gives what it says about the GPUs.
    fn adopt(&mut self, mut inventory: Inventory) -> Vec<gpu_health::Evidence> {
        for failure in &inventory.failures {
            tracing::warn!(
                index = failure.index,
                call = failure.call,
                code = failure.code,
                "a GPU cannot be identified"
            );
        }
        for gpu in inventory.gpus.iter_mut().filter(|gpu| gpu.numa_node.value().is_none()) {
            gpu.numa_node = numa_node(&self.with.driver.host, gpu);
        }
        let asked = self.asked();
        self.complete(&mut inventory);
        let mut found = evidence::of_inventory(&asked, &inventory);
        found.retain(|evidence| !self.is_hearsay(evidence));
        found.extend(evidence::of_absence(self.with.health.ledger.gpus(), &self.known, &inventory));
        for gpu in &inventory.gpus {
            match self.known.iter_mut().find(|known| known.uuid == gpu.uuid) {
                Some(known) => *known = gpu.clone(),
                None => self.known.push(gpu.clone()),
            }
        }
        self.listed = inventory.gpus.iter().map(|gpu| gpu.uuid.clone()).collect();
        self.inventory = inventory;
        self.tell_driver(&self.with.nvml.status().borrow());
        found
    }

    fn take_topology(&mut self, topology: &Topology) {
        let unknown: Vec<&GpuUuid> =
            self.listed.iter().filter(|gpu| !topology.gpus.contains_key(gpu)).collect();
        let is_whole = unknown.is_empty();
        if is_whole {
            self.topology.answered();
            self.with.components.topology.ready();
        } else {
            self.miss_topology(&format!("the driver does not tell it of {unknown:?}"));
        }
        self.affinity = Arc::new(NodeAffinity::of(self.listed.clone(), topology));
        self.publish();
        if is_whole {
            tracing::info!(
                gpus = self.listed.len(),
                pairs = topology.pairs.len(),
                "topology known; preferences are answered"
            );
        }
    }

    /// No GPU is the worse for it. Whether the driver is silent altogether, a probe tells.
    fn miss_topology(&mut self, reason: &str) {
        let pause = self.topology.failed(Instant::now());
        tracing::warn!(reason, ?pause, "the topology cannot be had; preferences know nothing of it");
        self.with
            .components
            .topology
            .ready_but(format!("topology unknown: {reason}; it is asked for again in {pause:?}"));
        self.want(Question::Probe);
    }
}

/// Ends the workers, and with them every handle on a GPU. Whoever hangs in the driver is waited for.
fn release(nvml: &Nvml) -> Releasing {
    let nvml = nvml.clone();
    Box::pin(async move { nvml.release().await })
}

fn ask(nvml: &Nvml, question: Question) -> Asking {
    let nvml = nvml.clone();
    Box::pin(async move {
        let answer = match question {
            Question::Inventory => nvml.inventory().await.map(Answer::Inventory),
            Question::Probe => nvml.probe().await.map(Answer::Probe),
            Question::Topology => nvml.topology().await.map(Answer::Topology),
        };
        (question, answer)
    })
}

/// NVML does not tell it on every driver; sysfs does.
fn numa_node(host: &HostRoot, gpu: &Gpu) -> Reading<u32> {
    let Some(address) = gpu.pci.value() else { return Reading::NotSupported };
    match node_host::numa_node(host, *address) {
        Ok(Some(node)) => Reading::Value(node),
        Ok(None) => Reading::NotSupported,
        Err(error) => {
            tracing::warn!(gpu = %gpu.uuid, error = %daemon::error_chain(&error), "NUMA node unknown");
            Reading::NotSupported
        }
    }
}

/// What is said of GPUs that are there and cannot be named.
fn nameless(failures: &[GpuFailure]) -> String {
    let told = failures.iter().map(|failure| {
        let code = gpu_model::failure::describe(failure.code);
        format!("GPU {}: {} = {code}", failure.index, failure.call)
    });
    told.collect::<Vec<String>>().join("; ")
}
