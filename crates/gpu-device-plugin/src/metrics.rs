//! Every metric of the plugin, declared and touched here alone.

use std::time::{Instant, SystemTime};

use gpu_health::xid::XidClass;
use gpu_health::{Record, Transition};
use gpu_model::{Health, ResourceName};
use prometheus::core::Collector;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::state::{Device, State};

mod health;
mod leases;
#[cfg(test)]
mod reference;
mod unavailable;

use health::HealthGauge;
use leases::LeaseMetrics;
use unavailable::UnavailableGauge;

/// What every name begins with.
pub const PREFIX: &str = "gantry_device_plugin";

/// Bounds of the answers' durations, in seconds: the kubelet is answered from memory, in microseconds.
const RPC_BUCKETS: [f64; 9] = [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.05, 0.5];

/// Handles on the metrics; clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    devices: IntGaugeVec,
    unavailable: UnavailableGauge,
    retired: IntGaugeVec,
    staged: IntGauge,
    held: IntGaugeVec,
    holders_current: IntGauge,
    forgotten: IntCounter,
    generation: IntGaugeVec,
    sent_generation: IntGaugeVec,
    streams: IntGaugeVec,
    stream_opened: IntGaugeVec,
    skipped: IntCounterVec,
    registered: IntGaugeVec,
    registrations: IntCounterVec,
    lost: IntCounterVec,
    rpc: HistogramVec,
    rpc_errors: IntCounterVec,
    allocations: IntCounterVec,
    allocated: IntCounterVec,
    transitions: IntCounterVec,
    health: HealthGauge,
    xids: IntCounterVec,
    leases: LeaseMetrics,
    spec_writes: IntCounterVec,
    spec_current: IntGauge,
    config_valid: IntGauge,
    config_generation: IntGauge,
    config_reads: IntCounterVec,
}

/// The metrics of one resource.
#[derive(Clone, Debug)]
pub struct ResourceMetrics {
    resource: String,
    all: Metrics,
}

impl Metrics {
    /// Declares all metrics and registers them.
    ///
    /// # Errors
    /// When a name is taken already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        Self::declare(&|collector| registry.register(collector))
    }

    fn declare(registry: &Registrar<'_>) -> Result<Self, prometheus::Error> {
        let declare = Declare { registry };
        let resource_only = &["resource"];
        Ok(Self {
            devices: declare.gauge(
                "devices",
                "Devices of the resource, by what is known of their health.",
                &["resource", "health"],
            )?,
            unavailable: UnavailableGauge::new(declare.gauge(
                "unavailable_devices",
                "Devices of the resource on which the kubelet may place no work, by cause: the reason of their health, `lacking` for what the host lacks, `retired` for what is offered no more.",
                &unavailable::LABELS,
            )?),
            retired: declare.gauge(
                "retired_devices",
                "Ids that are offered no more and listed as Unhealthy until the pods that hold them end.",
                resource_only,
            )?,
            staged: declare.plain_gauge(
                "config_staged_devices",
                "Devices of the config in force that wait until pods release what stands in their way.",
            )?,
            held: declare.gauge("held_devices", "Ids that pods hold, as far as is known.", resource_only)?,
            holders_current: declare.plain_gauge(
                "pod_resources_up",
                "1 while the kubelet tells which pods hold which devices.",
            )?,
            forgotten: declare.plain_counter(
                "holdings_forgotten_total",
                "Ids that pods held before a start of the kubelet or of this process, and that nobody holds after it: the pods ended meanwhile, or the kubelet has lost its checkpoint.",
            )?,
            generation: declare.gauge(
                "list_generation",
                "Number of device lists made so far.",
                resource_only,
            )?,
            sent_generation: declare.gauge(
                "sent_list_generation",
                "Device list last handed to a kubelet stream.",
                resource_only,
            )?,
            streams: declare.gauge("streams", "Open ListAndWatch streams.", resource_only)?,
            stream_opened: declare.gauge(
                "kubelet_stream_opened_timestamp_seconds",
                "When the kubelet's open ListAndWatch stream got its first list, in seconds since 1970; absent while none is open.",
                resource_only,
            )?,
            skipped: declare.counter(
                "list_updates_skipped_total",
                "Device lists that a stream did not send, since a newer one came before it could.",
                resource_only,
            )?,
            registered: declare.gauge(
                "registered",
                "1 while the resource is registered with the kubelet.",
                resource_only,
            )?,
            registrations: declare.counter(
                "registrations_total",
                "Attempts to register, by result.",
                &["resource", "result"],
            )?,
            lost: declare.counter(
                "registrations_lost_total",
                "Registrations that ended, by cause.",
                &["resource", "cause"],
            )?,
            rpc: declare.rpc_duration()?,
            rpc_errors: declare.counter(
                "rpc_errors_total",
                "Calls of the kubelet answered with an error.",
                &["method"],
            )?,
            allocations: declare.counter(
                "allocations_total",
                "Allocate calls, by result.",
                &["resource", "result"],
            )?,
            allocated: declare.counter("allocated_devices_total", "Devices handed out.", resource_only)?,
            transitions: declare.counter(
                "health_transitions_total",
                "Changes of a GPU's health or a GPU instance's, by what it became, each new reason, and what brought it about.",
                &["to", "reason", "cause"],
            )?,
            health: HealthGauge::new(declare.gauge(
                "gpu_health",
                "1 for what holds of a GPU, or of a GPU instance by itself: its state, and each reason for it.",
                &health::LABELS,
            )?),
            xids: declare.counter(
                "xids_total",
                "XIDs that the driver reported, by number and by what they say.",
                &["xid", "class"],
            )?,
            leases: LeaseMetrics::declare(&declare)?,
            spec_writes: declare.counter(
                "cdi_spec_writes_total",
                "Attempts to write the CDI spec, by result.",
                &["result"],
            )?,
            config_valid: declare.plain_gauge(
                "config_valid",
                "1 while the config file can be used, 0 while the last good one stays in force instead of it.",
            )?,
            config_generation: declare.plain_gauge(
                "config_generation",
                "Number of configs taken over so far: 1 for the first, the one without a file included.",
            )?,
            config_reads: declare.counter(
                "config_reads_total",
                "Config files that were read and differed from the one before, by result.",
                &["result"],
            )?,
            spec_current: declare
                .plain_gauge("cdi_spec_current", "1 while the CDI spec on disk names all devices.")?,
        })
    }

    /// Those of one resource.
    pub fn of(&self, resource: &ResourceName) -> ResourceMetrics {
        ResourceMetrics { resource: resource.to_string(), all: self.clone() }
    }

    /// A GPU's health changed.
    pub fn transition(&self, transition: &Transition) {
        let Transition { from, to, cause, .. } = transition;
        let before = from.as_ref().map_or(&[][..], Health::reasons);
        let mut news: Vec<String> =
            to.reasons().iter().filter(|reason| !before.contains(reason)).map(ToString::to_string).collect();
        if news.is_empty() {
            news.push(String::new());
        }
        for reason in news {
            self.transitions.with_label_values(&[name_of(to), reason.as_str(), cause.name()]).inc();
        }
    }

    /// What holds now of each GPU and each of its instances.
    pub fn health(&self, records: &[Record]) {
        self.health.show(records);
    }

    /// The driver reported an XID.
    pub fn xid(&self, xid: u64, class: Option<XidClass>) {
        let class = class.map_or("unknown", XidClass::name);
        self.xids.with_label_values(&[xid.to_string().as_str(), class]).inc();
    }

    /// Devices that wait for held ones.
    pub fn staged(&self, devices: usize) {
        self.staged.set(to_gauge(devices as u64));
    }

    /// Whether the kubelet answered who holds what.
    pub fn holders(&self, is_current: bool) {
        self.holders_current.set(i64::from(is_current));
    }

    /// So many ids are held by nobody after a start, and were before it.
    pub fn forgotten(&self, ids: usize) {
        self.forgotten.inc_by(ids as u64);
    }

    /// What is leased now.
    pub fn leases(&self, gpus: usize, acknowledged: usize, waiting: usize) {
        self.leases.show(gpus, acknowledged, waiting);
    }

    /// A lease was acknowledged.
    pub fn lease_acknowledged(&self) {
        self.leases.acknowledged();
    }

    /// A config file was read that differs from the one before.
    pub fn config(&self, is_valid: bool) {
        self.config_valid.set(i64::from(is_valid));
        self.config_reads.with_label_values(&[if is_valid { "ok" } else { "invalid" }]).inc();
    }

    /// A config was taken over.
    pub fn config_taken(&self) {
        self.config_generation.inc();
    }

    /// The CDI spec was written, or could not be.
    pub fn spec_written(&self, result: &str, current: bool) {
        self.spec_writes.with_label_values(&[result]).inc();
        self.spec_current.set(i64::from(current));
    }
}

impl ResourceMetrics {
    /// A call was answered.
    pub fn answered(&self, method: &str, started: Instant, well: bool) {
        self.all.rpc.with_label_values(&[method]).observe(started.elapsed().as_secs_f64());
        if !well {
            self.all.rpc_errors.with_label_values(&[method]).inc();
        }
    }

    /// An `Allocate` handed out this many devices.
    pub fn allocated(&self, devices: usize) {
        self.all.allocations.with_label_values(&[self.resource.as_str(), "granted"]).inc();
        self.all.allocated.with_label_values(&[&self.resource]).inc_by(devices as u64);
    }

    /// An `Allocate` was refused.
    pub fn refused(&self) {
        self.all.allocations.with_label_values(&[self.resource.as_str(), "refused"]).inc();
    }

    /// Whether the resource is registered now.
    pub fn registered(&self, registered: bool) {
        self.all.registered.with_label_values(&[&self.resource]).set(i64::from(registered));
    }

    /// An attempt to register ended.
    pub fn registration(&self, result: &str) {
        self.all.registrations.with_label_values(&[self.resource.as_str(), result]).inc();
    }

    /// A registration ended.
    pub fn lost(&self, cause: &str) {
        self.all.lost.with_label_values(&[self.resource.as_str(), cause]).inc();
    }

    /// How many ids pods hold.
    pub fn held(&self, ids: usize) {
        self.all.held.with_label_values(&[&self.resource]).set(to_gauge(ids as u64));
    }

    /// How the streams are.
    pub fn streams(&self, live: usize, sent: u64) {
        self.all.streams.with_label_values(&[&self.resource]).set(to_gauge(live as u64));
        self.all.sent_generation.with_label_values(&[&self.resource]).set(to_gauge(sent));
    }

    /// The kubelet's stream has its first list, or there is none any more.
    pub fn kubelet_stream(&self, is_open: bool) {
        let opened = &self.all.stream_opened;
        if is_open {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            opened.with_label_values(&[&self.resource]).set(to_gauge(now.as_secs()));
        } else {
            // There may be none yet.
            let _ = opened.remove_label_values(&[&self.resource]);
        }
    }

    /// So many lists were not sent.
    pub fn skipped(&self, lists: u64) {
        self.all.skipped.with_label_values(&[&self.resource]).inc_by(lists);
    }

    /// The state that was just published.
    pub fn state(&self, state: &State) {
        self.all.unavailable.show(&self.resource, state);
        for health in ["healthy", "degraded", "unhealthy", "unknown"] {
            let devices = state.devices.iter().filter(|device| name_of(&device.health) == health);
            let retired = if health == "unhealthy" { state.retired.len() } else { 0 };
            let count = devices.map(Device::count).sum::<usize>() + retired;
            self.all.devices.with_label_values(&[self.resource.as_str(), health]).set(to_gauge(count as u64));
        }
        self.all.retired.with_label_values(&[&self.resource]).set(to_gauge(state.retired.len() as u64));
        self.all.generation.with_label_values(&[&self.resource]).set(to_gauge(state.generation));
    }
}

/// Takes metrics in.
type Registrar<'a> = dyn Fn(Box<dyn Collector>) -> Result<(), prometheus::Error> + 'a;

/// Makes metrics that are registered from the start.
struct Declare<'a> {
    registry: &'a Registrar<'a>,
}

impl Declare<'_> {
    fn gauge(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        self.registered(IntGaugeVec::new(Opts::new(format!("{PREFIX}_{name}"), help), labels)?)
    }

    fn plain_gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.registered(IntGauge::with_opts(Opts::new(format!("{PREFIX}_{name}"), help))?)
    }

    fn counter(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.registered(IntCounterVec::new(Opts::new(format!("{PREFIX}_{name}"), help), labels)?)
    }

    fn plain_counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.registered(IntCounter::with_opts(Opts::new(format!("{PREFIX}_{name}"), help))?)
    }

    fn rpc_duration(&self) -> Result<HistogramVec, prometheus::Error> {
        let opts = HistogramOpts::new(
            format!("{PREFIX}_rpc_duration_seconds"),
            "Time to answer a call of the kubelet.",
        );
        self.registered(HistogramVec::new(opts.buckets(RPC_BUCKETS.to_vec()), &["method"])?)
    }

    fn registered<C: Collector + Clone + 'static>(&self, metric: C) -> Result<C, prometheus::Error> {
        (self.registry)(Box::new(metric.clone()))?;
        Ok(metric)
    }
}

fn to_gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn name_of(health: &Health) -> &'static str {
    match health {
        Health::Healthy => "healthy",
        Health::Degraded { .. } => "degraded",
        Health::Unhealthy { .. } => "unhealthy",
        Health::Unknown { .. } => "unknown",
    }
}
