//! What happened, as it happened: a bounded log, and a feed for whoever watches.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Mutex, PoisonError},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::state::PodName;

/// Entries that are kept; older ones go first.
const KEPT: usize = 4096;

/// An event with its time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Happening {
    /// When, by the monotonic clock of the fake's process; the time of reading where it came over a socket.
    #[serde(skip, default = "Instant::now")]
    pub at: Instant,
    /// When, in nanoseconds since 1970.
    pub unix_nanos: u64,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The kubelet started; the time is that of the moment before `kubelet.sock` appeared.
    Started {
        /// How often it was started, this time included.
        starts: u64,
    },
    /// The kubelet stopped as a killed process does.
    Stopped,
    /// A plugin was registered: dialled back and asked for its options.
    Registered {
        /// Its resource.
        resource: String,
        /// Its socket's name.
        endpoint: String,
    },
    /// A registration was refused.
    RegistrationRefused {
        /// Its resource, as asked for.
        resource: String,
        /// Its socket's name, as asked for.
        endpoint: String,
        /// Why.
        reason: String,
    },
    /// A device list arrived; the time is that of its arrival. The books have it when this is told.
    Listed {
        /// The resource.
        resource: String,
        /// Devices in the list.
        devices: usize,
        /// Healthy ones among them.
        healthy: usize,
    },
    /// A plugin's stream ended.
    Disconnected {
        /// Its resource.
        resource: String,
        /// Its socket's name.
        endpoint: String,
        /// What ended it.
        reason: String,
    },
    /// A container was given devices.
    Admitted {
        /// Its pod.
        pod: PodName,
        /// Its name.
        container: String,
        /// The resource.
        resource: String,
        /// The devices, sorted.
        devices: Vec<String>,
    },
    /// A container was not admitted.
    Rejected {
        /// Its pod.
        pod: PodName,
        /// Its name.
        container: String,
        /// The resource.
        resource: String,
        /// Why.
        reason: String,
    },
    /// A pod gave its devices back.
    Released {
        /// The pod.
        pod: PodName,
    },
}

/// Keeps events and feeds watchers.
pub(crate) struct EventLog {
    kept: Mutex<VecDeque<Happening>>,
    feed: broadcast::Sender<Happening>,
}

impl EventLog {
    pub(crate) fn new() -> Self {
        EventLog { kept: Mutex::default(), feed: broadcast::channel(KEPT).0 }
    }

    pub(crate) fn push(&self, event: Event) {
        self.push_at(Instant::now(), SystemTime::now(), event);
    }

    pub(crate) fn push_at(&self, at: Instant, time: SystemTime, event: Event) {
        tracing::info!(event = %event, "kubelet");
        let nanos = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let happening = Happening { at, unix_nanos: u64::try_from(nanos).unwrap_or(u64::MAX), event };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(happening.clone());
        // No watcher is no failure. Sent under the lock, so that log and feed agree on the order.
        let _ = self.feed.send(happening);
    }

    pub(crate) fn kept(&self) -> Vec<Happening> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub(crate) fn watch(&self) -> broadcast::Receiver<Happening> {
        self.feed.subscribe()
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Started { starts } => write!(f, "started (start {starts})"),
            Event::Stopped => write!(f, "stopped"),
            Event::Registered { resource, endpoint } => write!(f, "registered {resource} at {endpoint}"),
            Event::RegistrationRefused { resource, endpoint, reason } => {
                write!(f, "refused {resource:?} at {endpoint:?}: {reason}")
            }
            Event::Listed { resource, devices, healthy } => {
                write!(f, "{resource}: {devices} devices listed, {healthy} healthy")
            }
            Event::Disconnected { resource, endpoint, reason } => {
                write!(f, "{resource} at {endpoint} disconnected: {reason}")
            }
            Event::Admitted { pod, container, resource, devices } => {
                write!(f, "{pod} {container} got {} {resource}: {}", devices.len(), devices.join(", "))
            }
            Event::Rejected { pod, container, resource, reason } => {
                write!(f, "{pod} {container} rejected for {resource}: {reason}")
            }
            Event::Released { pod } => write!(f, "{pod} released"),
        }
    }
}
