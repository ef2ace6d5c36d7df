//! Readiness by handles: a daemon is ready when every component that holds one says so.
//!
//! A component starts not ready. Its handle removes it when dropped. Each change of state is logged once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use prometheus::IntGaugeVec;
use serde::Serialize;

/// The readiness of a daemon; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    gauge: Option<IntGaugeVec>,
    clock: fn() -> Timestamp,
}

impl Default for Inner {
    fn default() -> Inner {
        Inner { state: Mutex::default(), gauge: None, clock: Timestamp::now }
    }
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    components: BTreeMap<u64, ComponentState>,
}

/// One component's handle on the readiness of its daemon. Dropping it removes the component.
#[derive(Debug)]
pub struct Component {
    id: u64,
    name: String,
    readiness: Readiness,
}

/// How one component stands. `code` is absent when it is ready; `detail` then is a remark, if there is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ComponentState {
    /// The component's name.
    pub component: String,
    /// Whether it is ready.
    pub ready: bool,
    /// Why it is not, as a short word that is stable across releases, such as `no-driver`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Why it is not, in words; or what is wrong although it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Since when it has been ready, or not ready with this code.
    pub since: Timestamp,
}

/// What `/ready` shows: the components that are not ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReadinessReport {
    /// Whether all components are ready.
    pub ready: bool,
    /// Those that are not, by name.
    pub not_ready: Vec<ComponentState>,
    /// Those that are ready and have something to say all the same, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<ComponentState>,
}

impl Readiness {
    /// A readiness without components, which is ready; a running daemon takes [`crate::Runtime::readiness`].
    pub fn new() -> Readiness {
        Readiness::default()
    }

    /// The same, with another clock for `since` than the system's.
    pub fn with_clock(clock: fn() -> Timestamp) -> Readiness {
        Readiness(Arc::new(Inner { clock, ..Inner::default() }))
    }

    /// The same, shown in a gauge with the label `component` too.
    pub(crate) fn with_gauge(gauge: IntGaugeVec) -> Readiness {
        Readiness(Arc::new(Inner { gauge: Some(gauge), ..Inner::default() }))
    }

    /// Adds a component. It is not ready, with code `starting`, until it says otherwise.
    pub fn component(&self, name: impl Into<String>) -> Component {
        let name = name.into();
        let mut state = self.lock();
        let id = state.next;
        state.next += 1;
        let component = ComponentState {
            component: name.clone(),
            ready: false,
            code: Some("starting".to_owned()),
            detail: Some("it has not been ready yet".to_owned()),
            since: (self.0.clock)(),
        };
        state.components.insert(id, component);
        drop(state);
        self.show(&name, false);
        Component { id, name, readiness: self.clone() }
    }

    /// How things stand now.
    pub fn report(&self) -> ReadinessReport {
        let mut components: Vec<_> = self.lock().components.values().cloned().collect();
        components.sort_by(|a, b| a.component.cmp(&b.component));
        let (ready, not_ready): (Vec<_>, Vec<_>) = components.into_iter().partition(|state| state.ready);
        let remarks = ready.into_iter().filter(|state| state.detail.is_some()).collect();
        ReadinessReport { ready: not_ready.is_empty(), not_ready, remarks }
    }

    /// Whether all components are ready.
    pub fn is_ready(&self) -> bool {
        self.lock().components.values().all(|state| state.ready)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can leave half a change behind.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, component: &str, ready: bool) {
        if let Some(gauge) = &self.0.gauge {
            gauge.with_label_values(&[component]).set(i64::from(ready));
        }
    }
}

impl Component {
    /// The component's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Says that it is ready.
    pub fn ready(&self) {
        if self.change(true, None, None) {
            tracing::info!(component = self.name, "ready");
        }
    }

    /// Says that it is ready, and what is wrong all the same: `/ready` shows `remark` and stays ready.
    pub fn ready_but(&self, remark: impl Into<String>) {
        if self.change(true, None, Some(remark.into())) {
            tracing::info!(component = self.name, "ready");
        }
    }

    /// Says that it is not ready, and why: `code` is a short word that is stable across releases, `detail` tells the
    /// case in words. `since` starts anew when the code changes, not when only the detail does.
    pub fn not_ready(&self, code: impl Into<String>, detail: impl Into<String>) {
        let (code, detail) = (code.into(), detail.into());
        if self.change(false, Some(code.clone()), Some(detail.clone())) {
            tracing::warn!(component = self.name, reason = code, detail, "not ready");
        }
    }

    /// Sets the state, and says whether it differs in more than the detail.
    fn change(&self, ready: bool, code: Option<String>, detail: Option<String>) -> bool {
        let mut state = self.readiness.lock();
        let Some(own) = state.components.get_mut(&self.id) else { return false };
        let changed = own.ready != ready || own.code != code;
        if changed {
            own.since = (self.readiness.0.clock)();
        }
        (own.ready, own.code, own.detail) = (ready, code, detail);
        drop(state);
        self.readiness.show(&self.name, ready);
        changed
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        self.readiness.lock().components.remove(&self.id);
        if let Some(gauge) = &self.readiness.0.gauge {
            let _ = gauge.remove_label_values(&[self.name.as_str()]);
        }
    }
}
