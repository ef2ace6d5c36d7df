//! What NVML's workers count, on `/metrics`.

use std::sync::{Mutex, PoisonError};

use nvml::{RoleStatus, Status};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntGauge, Opts, Registry};
use tokio::sync::watch;

/// A role that has a worker of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It answers questions.
    Queries,
    /// It waits for events.
    Events,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Role::Queries => "queries",
            Role::Events => "events",
        }
    }
}

/// Reads the workers' own counts when it is scraped.
#[derive(Debug)]
pub struct NvmlMetrics {
    status: watch::Receiver<Status>,
    roles: Vec<(Role, RoleCounters)>,
    /// One scrape at a time adds what is new.
    updating: Mutex<()>,
}

#[derive(Debug)]
struct RoleCounters {
    calls: IntCounter,
    starts: IntCounter,
    abandoned: IntGauge,
}

impl NvmlMetrics {
    /// Registers what the workers of these roles count, under names that begin with `prefix`.
    ///
    /// # Errors
    /// When a name is taken already.
    pub fn register(
        registry: &Registry,
        prefix: &str,
        roles: &[Role],
        status: watch::Receiver<Status>,
    ) -> Result<(), prometheus::Error> {
        let counters = |role: &Role| Ok((*role, RoleCounters::new(prefix, *role)?));
        let roles = roles.iter().map(counters).collect::<Result<_, prometheus::Error>>()?;
        registry.register(Box::new(Self { status, roles, updating: Mutex::new(()) }))
    }

    /// The metrics of one role, which stands for all, none of them registered: what a daemon's reference tells of them.
    ///
    /// # Errors
    /// When one cannot be declared.
    pub fn of_reference(prefix: &str) -> Result<Vec<Box<dyn Collector>>, prometheus::Error> {
        let RoleCounters { calls, starts, abandoned } = RoleCounters::new(prefix, Role::Queries)?;
        Ok(vec![Box::new(calls), Box::new(starts), Box::new(abandoned)])
    }
}

impl RoleCounters {
    fn new(prefix: &str, role: Role) -> Result<Self, prometheus::Error> {
        let opts = |name: &str, help: &str| {
            Opts::new(format!("{prefix}_{name}"), help).const_label("role", role.name())
        };
        Ok(Self {
            calls: IntCounter::with_opts(opts("nvml_calls_total", "NVML calls that the workers made."))?,
            starts: IntCounter::with_opts(opts("nvml_worker_starts_total", "NVML workers started."))?,
            abandoned: IntGauge::with_opts(opts(
                "nvml_workers_abandoned",
                "Workers that hang in the driver and cannot be ended.",
            ))?,
        })
    }

    fn update(&self, status: &RoleStatus) {
        self.calls.inc_by(status.calls.saturating_sub(self.calls.get()));
        self.starts.inc_by(status.starts.saturating_sub(self.starts.get()));
        self.abandoned.set(i64::try_from(status.abandoned).unwrap_or(i64::MAX));
    }

    fn all(&self) -> [&dyn Collector; 3] {
        [&self.calls, &self.starts, &self.abandoned]
    }
}

impl Collector for NvmlMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.roles.iter().flat_map(|(_, counters)| counters.all()).flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let status = self.status.borrow().clone();
        let _one = self.updating.lock().unwrap_or_else(PoisonError::into_inner);
        for (role, counters) in &self.roles {
            counters.update(match role {
                Role::Queries => &status.queries,
                Role::Events => &status.events,
            });
        }
        self.roles.iter().flat_map(|(_, counters)| counters.all()).flat_map(Collector::collect).collect()
    }
}
