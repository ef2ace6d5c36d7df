//! The observer: the one task that asks the driver, keeps the ledger of health and publishes the state.
//!
//! ```text
//!   find driver -> inventory -> CDI spec -> publish -> [kubelet has the list] -> topology, events, probes
//!        ^                                                                               |
//!        +------------- the driver is asked from the start again after a silence --------+
//! ```
//!
//! It knows NVML's client and files of the host; it knows nothing of gRPC and waits for no kubelet, apart
//! from leaving it the first second.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::{Duration, Instant};

use gpu_model::{Gpu, GpuUuid, Health, Inventory, Reading, Topology};
use node_host::HostRoot;
use nvml::{Event, Nvml, NvmlError, Probe};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until, timeout};

use crate::affinity::Affinity;
use crate::driver;
use crate::health::{Evidence, Ledger, Transition, evidence};
use crate::metrics::Metrics;
use crate::report::Finding;
use crate::spec_file::SpecFile;
use crate::state::{Device, Publisher, SpecState};
use crate::streams::StreamsStatus;
use crate::xid::{self, XidClass};

/// How often the driver is looked for while there is none, and asked again after it failed to start.
const SEARCH: Duration = Duration::from_secs(2);

/// How long topology, events and probes leave the processor to the first registration.
const HEAD_START: Duration = Duration::from_secs(1);

/// What the observer says about itself on `/ready`.
pub struct Components {
    /// The driver and NVML.
    pub driver: daemon::Component,
    /// The device nodes that CUDA needs.
    pub nodes: daemon::Component,
    /// The CDI spec on disk.
    pub spec: daemon::Component,
    /// The devices themselves.
    pub devices: daemon::Component,
}

/// What the observer works with.
pub struct Observer {
    /// Where the driver may be.
    pub driver: driver::Settings,
    /// NVML.
    pub nvml: Nvml,
    /// Where the state goes.
    pub publisher: Publisher,
    /// How far the kubelet's streams are.
    pub streams: watch::Receiver<StreamsStatus>,
    /// The CDI spec.
    pub spec: SpecFile,
    /// What the node report is written from.
    pub findings: watch::Sender<Option<Finding>>,
    /// Time between two probes of all GPUs.
    pub probe_interval: Duration,
    /// Counts.
    pub metrics: Metrics,
    /// Readiness.
    pub components: Components,
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

type Asking = Pin<Box<dyn Future<Output = Result<Answer, NvmlError>> + Send>>;

/// The observer once the driver has answered.
struct Watching {
    with: Observer,
    ledger: Ledger,
    /// Every GPU that was ever listed, as last seen, in the order of first sight.
    known: Vec<Gpu>,
    inventory: Inventory,
    /// What stands in the way of handing a GPU out although it is healthy.
    lacking: BTreeMap<GpuUuid, String>,
    /// Questions to ask, most urgent first; one is under way at a time.
    wanted: Vec<Question>,
    /// Whether the last question was answered.
    is_answering: bool,
    /// Why there is no valid CDI spec on disk; none when there is one.
    spec_problem: Option<String>,
}

impl Observer {
    /// Observes for ever.
    pub async fn run(self) {
        let inventory = self.first_inventory().await;
        let mut watching = Watching {
            with: self,
            ledger: Ledger::default(),
            known: Vec::new(),
            inventory: inventory.clone(),
            lacking: BTreeMap::new(),
            wanted: Vec::new(),
            is_answering: true,
            spec_problem: Some("it was not written yet".to_owned()),
        };
        watching.take_inventory(inventory);
        // The first list before everything else. A kubelet that is not there must not hold up the rest.
        let _ = timeout(HEAD_START, watching.with.streams.wait_for(|streams| streams.sent > 0)).await;
        watching.want(Question::Topology);
        watching.watch().await;
    }

    /// Waits for a driver that lists a GPU.
    async fn first_inventory(&self) -> Inventory {
        let mut last = String::new();
        loop {
            let (code, reason) = match self.driver.find() {
                Err(reason) => ("no-driver", reason),
                Ok(_) => match self.nvml.inventory().await {
                    Ok(inventory) if inventory.gpus.is_empty() => ("no-gpu", no_gpu(&inventory)),
                    Ok(inventory) => return inventory,
                    Err(error) => (code_of(&error), daemon::error_chain(&error).to_string()),
                },
            };
            self.components.driver.not_ready(code, &reason);
            if last != reason {
                tracing::warn!(code, reason, "no GPU can be offered yet");
                last = reason;
            }
            sleep(SEARCH).await;
        }
    }
}

impl Watching {
    async fn watch(&mut self) {
        let mut events = self.with.nvml.events();
        let mut probes = interval(self.with.probe_interval);
        probes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut repair = interval(SEARCH);
        repair.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asking: Option<Asking> = None;
        loop {
            if asking.is_none() && !self.wanted.is_empty() {
                asking = Some(ask(&self.with.nvml, self.wanted.remove(0)));
            }
            let expiry = self.ledger.next_expiry().map(tokio::time::Instant::from_std);
            let needs_repair = self.with.publisher.current().spec != SpecState::Written;
            tokio::select! {
                Some(event) = events.next() => self.take_event(event),
                answer = finish(&mut asking) => {
                    asking = None;
                    self.take_answer(answer);
                }
                _ = probes.tick() => {
                    self.want(Question::Probe);
                    if !self.is_spec_settled() {
                        self.keep_spec();
                    }
                }
                _ = repair.tick(), if needs_repair => self.keep_spec(),
                () = until(expiry) => {
                    let changes = self.ledger.expire(Instant::now());
                    self.publish(&changes);
                }
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
            Event::Xid { gpu, xid, gpu_instance, compute_instance } => {
                let row = xid::row_of(xid);
                let meaning = row.map_or("not in the table", |row| row.meaning);
                match row.map(|row| row.class) {
                    Some(XidClass::Application | XidClass::Notice) => {
                        tracing::info!(%gpu, xid, meaning, gpu_instance, compute_instance, "XID");
                    }
                    _ => tracing::warn!(%gpu, xid, meaning, gpu_instance, compute_instance, "XID"),
                }
                self.with.metrics.xid(xid);
                self.learn(&[Evidence::Xid { gpu, xid }]);
                // Whatever the number says, the driver's own recovery action says more.
                self.want(Question::Probe);
            }
        }
    }

    fn take_answer(&mut self, answer: Result<Answer, NvmlError>) {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return self.take_silence(&error),
        };
        if !self.is_answering {
            // The driver may be another one now: its GPUs, files and device numbers are looked at again.
            self.is_answering = true;
            self.want(Question::Inventory);
            tracing::info!("NVML answers again");
        }
        match answer {
            Answer::Inventory(inventory) => self.take_inventory(inventory),
            Answer::Topology(topology) => self.take_topology(&topology),
            Answer::Probe(probes) => {
                let newcomers = evidence::newcomers(&self.known, &probes);
                if !newcomers.is_empty() {
                    tracing::info!(?newcomers, "the driver lists GPUs that are new");
                    self.want(Question::Inventory);
                    self.want(Question::Topology);
                }
                self.learn(&evidence::of_probe(&self.known, &probes));
            }
        }
        self.with.components.driver.ready();
        if self.wanted.is_empty() {
            tracing::debug!("no question to the driver is open");
        }
    }

    fn take_silence(&mut self, error: &NvmlError) {
        let reason = daemon::error_chain(error).to_string();
        self.with.components.driver.not_ready(code_of(error), &reason);
        if self.is_answering {
            tracing::warn!(
                reason,
                "NVML does not answer; GPUs keep their last state for {:?}",
                crate::health::GRACE
            );
        }
        self.is_answering = false;
        self.learn(&[Evidence::Silent(evidence::silence(error))]);
    }

    fn take_inventory(&mut self, inventory: Inventory) {
        for failure in &inventory.failures {
            tracing::warn!(
                index = failure.index,
                call = failure.call,
                code = failure.code,
                "a GPU cannot be identified"
            );
        }
        let found = evidence::of_inventory(&self.known, &inventory);
        for gpu in &inventory.gpus {
            match self.known.iter_mut().find(|known| known.uuid == gpu.uuid) {
                Some(known) => *known = gpu.clone(),
                None => self.known.push(gpu.clone()),
            }
        }
        for gpu in self.known.iter_mut().filter(|gpu| gpu.numa_node.value().is_none()) {
            gpu.numa_node = numa_node(&self.with.driver.host, gpu);
        }
        self.inventory = inventory;
        self.with.components.driver.ready();
        self.keep_spec();
        self.learn(&found);
    }
}

impl Watching {
    fn take_topology(&mut self, topology: &Topology) {
        let gpus: Vec<GpuUuid> =
            self.with.publisher.current().devices.iter().map(|device| device.gpu.clone()).collect();
        let affinity = Affinity::of(&gpus, topology);
        tracing::info!(
            gpus = gpus.len(),
            pairs = topology.pairs.len(),
            "topology known; preferences are answered"
        );
        self.with.publisher.publish(|state| state.affinity = affinity);
    }

    fn learn(&mut self, evidence: &[Evidence]) {
        let now = Instant::now();
        let mut changes = Vec::new();
        for evidence in evidence {
            changes.extend(self.ledger.take(evidence, now));
        }
        self.publish(&changes);
    }

    /// Tells the changes and publishes the device list that follows from them.
    fn publish(&mut self, changes: &[Transition]) {
        for change in changes {
            tell(change);
            self.with.metrics.transition(change);
        }
        let devices: Vec<Device> = self.known.iter().filter_map(|gpu| self.device(gpu)).collect();
        let spec = self.spec_state();
        let generation = self.with.publisher.publish(|state| {
            if state.devices.len() != devices.len() {
                // Positions no longer match; preferences are empty until the topology is asked again.
                state.affinity = Affinity::default();
            }
            state.devices = devices;
            state.spec = spec;
        });
        let state = self.with.publisher.current();
        self.with.metrics.state(&state);
        tell_devices(&self.with.components.devices, &state.devices);
        if let Some(generation) = generation {
            let finding =
                Finding { generation, inventory: self.inventory.clone(), devices: state.devices.clone() };
            self.with.findings.send_replace(Some(finding));
        }
    }

    fn device(&self, gpu: &Gpu) -> Option<Device> {
        Some(Device {
            gpu: gpu.uuid.clone(),
            numa_node: gpu.numa_node.value().copied(),
            health: self.ledger.health(&gpu.uuid)?,
            lacking: self.lacking.get(&gpu.uuid).cloned(),
        })
    }

    /// Whether nothing about the spec can have changed without an inventory: one look at one file.
    fn is_spec_settled(&self) -> bool {
        self.spec_problem.is_none() && self.lacking.is_empty() && self.with.spec.is_in_place()
    }

    /// Brings the CDI spec on disk in line with what is known. Looks at every file of the driver.
    fn keep_spec(&mut self) {
        self.spec_problem = self.try_spec().err();
        let is_current = self.spec_problem.is_none();
        if let Some(problem) = &self.spec_problem {
            self.with.components.spec.not_ready("cdi-spec-stale", problem.clone());
            self.with.metrics.spec_written("failed", false);
        } else {
            self.with.components.spec.ready();
        }
        let was_current = self.with.publisher.current().spec == SpecState::Written;
        if is_current != was_current {
            self.publish(&[]);
        }
    }

    fn try_spec(&mut self) -> Result<(), String> {
        let driver = self.with.driver.find()?;
        let nodes = self.with.driver.device_nodes(driver)?;
        if driver::has_uvm(&nodes.usable) {
            self.with.components.nodes.ready();
        } else {
            self.with.components.nodes.not_ready(
                "uvm-missing",
                "/dev/nvidia-uvm does not exist, and CUDA does not start without it: run `nvidia-modprobe -u -c0` on the host",
            );
            if !self.with.spec.is_in_place() {
                return Err("the device node nvidia-uvm is missing".to_owned());
            }
        }
        // Names of GPUs that are gone stay resolvable: a container that holds one may be started again.
        let everything = Inventory { gpus: self.known.clone(), ..self.inventory.clone() };
        let (lacking, was_written) = self.with.spec.keep(&everything, driver, &nodes)?;
        if was_written {
            tracing::info!(gpus = everything.gpus.len(), left_out = lacking.len(), "CDI spec written");
            self.with.metrics.spec_written("ok", true);
        }
        self.lacking = lacking.clone();
        Ok(())
    }

    fn spec_state(&self) -> SpecState {
        match (&self.spec_problem, &self.with.publisher.current().spec) {
            (None, _) => SpecState::Written,
            (Some(_), SpecState::Pending) => SpecState::Pending,
            (Some(reason), _) => SpecState::Stale { reason: reason.clone() },
        }
    }
}

fn ask(nvml: &Nvml, question: Question) -> Asking {
    let nvml = nvml.clone();
    Box::pin(async move {
        match question {
            Question::Inventory => nvml.inventory().await.map(Answer::Inventory),
            Question::Probe => nvml.probe().await.map(Answer::Probe),
            Question::Topology => nvml.topology().await.map(Answer::Topology),
        }
    })
}

/// The answer to the question under way; waits for ever when there is none.
async fn finish(asking: &mut Option<Asking>) -> Result<Answer, NvmlError> {
    match asking {
        Some(asking) => asking.await,
        None => std::future::pending().await,
    }
}

async fn until(instant: Option<tokio::time::Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
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

fn tell(change: &Transition) {
    let Transition { gpu, from, to } = change;
    match (from, to) {
        (None, _) => tracing::info!(%gpu, health = %to, "GPU found"),
        (Some(from), Health::Healthy) => tracing::info!(%gpu, %from, to = %to, "GPU health changed"),
        (Some(from), _) => tracing::warn!(%gpu, %from, to = %to, "GPU health changed"),
    }
}

/// One sick GPU does not make the plugin unready; it is told all the same.
fn tell_devices(component: &daemon::Component, devices: &[Device]) {
    let sick: Vec<String> = devices.iter().filter_map(Device::complaint).collect();
    if sick.is_empty() {
        component.ready();
    } else {
        component.ready_but(sick.join("; "));
    }
}

fn no_gpu(inventory: &Inventory) -> String {
    let failures: Vec<String> = inventory
        .failures
        .iter()
        .map(|failure| format!("GPU {}: {} = {}", failure.index, failure.call, failure.code))
        .collect();
    if failures.is_empty() { "the driver lists no GPU".to_owned() } else { failures.join("; ") }
}

/// The code under which an error of NVML stands on `/ready`.
fn code_of(error: &NvmlError) -> &'static str {
    match error {
        NvmlError::NoDriver { .. } => "no-driver",
        NvmlError::Stuck { .. } | NvmlError::TooManyAbandoned { .. } => "nvml-stuck",
        _ => "nvml-failed",
    }
}
