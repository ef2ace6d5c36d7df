//! Events on the own Node, for people who ask why: few, never twice the same within an hour, and never waited for.
//!
//! Best effort, as all events are: one that cannot be written is dropped.

use std::collections::BTreeMap;

use hyper::Method;
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use crate::backoff::{Backoff, chance};
use crate::cluster::{Call, Cluster, encoded};

/// Events that wait to be written; further ones are dropped.
const QUEUE: usize = 64;
/// Events that may go without spacing.
const BURST: u32 = 10;
/// Tries of one event.
const TRIES: u32 = 4;
/// Events remembered as told.
const REMEMBERED: usize = 256;
/// The longest note that the API server takes, in bytes.
const MAX_NOTE: usize = 1024;
/// Events of objects without a namespace stand in this one.
const NAMESPACE: &str = "default";

/// Who reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reporter {
    controller: String,
    instance: String,
}

impl Reporter {
    /// `controller` is a qualified name, as `gantry.dev/gpu-feature-discovery`; `instance`, as the pod's name, tells one of
    /// its processes from another.
    pub fn new(controller: impl Into<String>, instance: impl Into<String>) -> Reporter {
        Reporter { controller: controller.into(), instance: instance.into() }
    }
}

/// Whether somebody should look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is as it should be.
    Normal,
    /// It is not.
    Warning,
}

/// Something to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// Whether somebody should look at it.
    pub kind: Kind,
    /// Why, in one word of `CamelCase`.
    pub reason: &'static str,
    /// What was done or tried, in one word of `CamelCase`.
    pub action: &'static str,
    /// For people; its end is cut off where it is too long.
    pub note: String,
}

/// Takes events; never waits. Clones write by the same hand.
#[derive(Clone, Debug)]
pub struct Events(mpsc::Sender<Happening>);

impl Events {
    /// Where to tell events of that Node, and what has to run to get them written.
    pub fn new(cluster: Cluster, node: impl Into<String>, reporter: Reporter) -> (Events, EventWriter) {
        let (sender, queue) = mpsc::channel(QUEUE);
        (Events(sender), EventWriter { cluster, node: node.into(), reporter, queue, told: BTreeMap::new() })
    }

    /// Tells an event. It is dropped when too many wait, or the same one was told lately.
    pub fn tell(&self, happening: Happening) {
        if let Err(error) = self.0.try_send(happening) {
            tracing::debug!(%error, "an event is dropped");
        }
    }
}

/// Writes events.
#[derive(Debug)]
pub struct EventWriter {
    cluster: Cluster,
    node: String,
    reporter: Reporter,
    queue: mpsc::Receiver<Happening>,
    told: BTreeMap<(&'static str, String), Instant>,
}

impl EventWriter {
    /// Writes until nobody can tell any more.
    pub async fn run(mut self) {
        let spacing = self.cluster.timing().event_spacing;
        // When the burst would be whole again: each event moves it by the spacing.
        let mut whole = Instant::now();
        while let Some(happening) = self.queue.recv().await {
            let now = Instant::now();
            if !self.is_news(&happening, now) {
                continue;
            }
            whole = whole.max(now) + spacing;
            if let Some(until) = whole.checked_sub(spacing * BURST) {
                sleep_until(until).await;
            }
            self.write(&happening).await;
        }
    }

    fn is_news(&mut self, happening: &Happening, now: Instant) -> bool {
        let same = self.cluster.timing().same_event;
        self.told.retain(|_, at| now.saturating_duration_since(*at) < same);
        if self.told.len() >= REMEMBERED {
            return false;
        }
        let key = (happening.reason, happening.note.clone());
        self.told.insert(key, now).is_none()
    }

    async fn write(&self, happening: &Happening) {
        let mut backoff = Backoff::default();
        let body = self.body(happening).into_bytes();
        for _ in 0..TRIES {
            let path = format!("/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events");
            let call = Call { body: body.clone(), ..Call::new("create", "events", Method::POST, path) };
            let Err(error) = self.cluster.call(call).await else { return };
            // It exists: an earlier try got through, and only its answer did not.
            if error.code() == Some(409) {
                return;
            }
            tracing::debug!(error = error.chain(), reason = happening.reason, "an event is not written");
            if matches!(error.code(), Some(400 | 403 | 404 | 422)) {
                return;
            }
            sleep(backoff.after_failure(self.cluster.timing(), error.retry_after())).await;
        }
    }

    fn body(&self, happening: &Happening) -> String {
        let kind = match happening.kind {
            Kind::Normal => "Normal",
            Kind::Warning => "Warning",
        };
        let note = cut(&happening.note);
        json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": { "name": format!("{}.{:016x}", encoded(&self.node), chance()), "namespace": NAMESPACE },
            // kubelets give the Node's name for its uid, and `kubectl describe node` looks for that.
            "regarding": { "apiVersion": "v1", "kind": "Node", "name": self.node, "uid": self.node },
            "eventTime": format!("{:.6}", Timestamp::now()),
            "reportingController": self.reporter.controller,
            "reportingInstance": self.reporter.instance,
            "action": happening.action,
            "reason": happening.reason,
            "type": kind,
            "note": note,
        })
        .to_string()
    }
}

fn cut(note: &str) -> &str {
    let end = note.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= MAX_NOTE).last();
    &note[..end.unwrap_or(0)]
}
