//! Critical events (XIDs) as a stream that says when it may have missed some.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gpu_model::GpuUuid;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use worker::{CallError, Pending, Worker};

use crate::NvmlError;
use crate::protocol::{EVENTS, Refusal, Watch};

/// Events that wait for a slow reader; more are replaced by one gap.
const MAX_WAITING: usize = 1024;

/// Pause after the first failure in a row; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Longest pause while there is no driver, which should be noticed soon when it comes.
const MAX_PAUSE_NO_DRIVER: Duration = Duration::from_secs(4);

/// What happened on the node's GPUs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// Events may have been missed: probe every GPU now. Every stream begins with one.
    Gap {
        /// Why, and which GPUs are not watched.
        reason: String,
    },
    /// The driver reported an XID.
    Xid {
        /// The GPU.
        gpu: GpuUuid,
        /// NVIDIA's XID number.
        xid: u64,
        /// The GPU instance that it concerns, if only one does.
        gpu_instance: Option<u32>,
        /// The compute instance that it concerns, if only one does.
        compute_instance: Option<u32>,
    },
}

/// Events, from [`crate::Nvml::events`]. One stream at a time: another one begins when this is dropped.
#[derive(Debug)]
pub struct EventStream {
    worker: Worker,
    buffer: Arc<Buffer>,
    watch: Option<Pending<Refusal>>,
    failures: u32,
    /// The last failure that was told; the same again is not.
    told: Option<String>,
    /// A failure to tell, after what the worker sent before it.
    gap: Option<String>,
    pause: Duration,
}

#[derive(Debug, Default)]
struct Buffer {
    events: Mutex<VecDeque<Event>>,
    arrived: Notify,
}

impl EventStream {
    pub(crate) fn new(worker: Worker) -> EventStream {
        let buffer = Arc::default();
        EventStream { worker, buffer, watch: None, failures: 0, told: None, gap: None, pause: Duration::ZERO }
    }

    /// The next event. It never ends by an error: trouble with the driver is an [`Event::Gap`] with the
    /// reason, told once, and the watch is tried again (after 1 to 30 s). Another gap follows when the
    /// watch stands. After [`crate::Nvml::shutdown`] it waits for ever. Dropping the future loses no
    /// event.
    pub async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.buffer.pop() {
                // Whatever comes from the worker means that the watch stood.
                self.failures = 0;
                self.told = None;
                return event;
            }
            if let Some(reason) = self.gap.take() {
                return Event::Gap { reason };
            }
            let watch = self.watch.get_or_insert_with(|| {
                let buffer = Arc::clone(&self.buffer);
                self.worker.watch(&Watch, self.pause, move |event| buffer.push(event))
            });
            let ended = tokio::select! {
                biased;
                () = self.buffer.arrived.notified() => continue,
                ended = watch => ended,
            };
            self.watch = None;
            match ended {
                Ok(refusal) => self.failed(&refusal.into()),
                Err(CallError::Closed) => std::future::pending().await,
                Err(error) => self.failed(&error.into()),
            }
        }
    }

    /// Sets the pause before the next try, and the gap unless the same was told before.
    fn failed(&mut self, error: &NvmlError) {
        let max = match error {
            NvmlError::NoDriver { .. } => MAX_PAUSE_NO_DRIVER,
            _ => MAX_PAUSE,
        };
        if !self.buffer.is_empty() {
            self.failures = 0;
        }
        self.pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(5)).min(max);
        self.failures = self.failures.saturating_add(1);
        let reason = error.to_string();
        if self.told.as_ref() != Some(&reason) {
            tracing::warn!(role = EVENTS, reason, "GPU events are not watched");
            self.gap = Some(reason.clone());
            self.told = Some(reason);
        }
    }
}

impl Buffer {
    fn push(&self, event: Event) {
        let mut events = self.events();
        if events.len() >= MAX_WAITING {
            events.clear();
            events.push_back(Event::Gap {
                reason: format!("more than {MAX_WAITING} events waited to be read"),
            });
        }
        events.push_back(event);
        drop(events);
        self.arrived.notify_one();
    }

    fn pop(&self) -> Option<Event> {
        self.events().pop_front()
    }

    fn is_empty(&self) -> bool {
        self.events().is_empty()
    }

    fn events(&self) -> MutexGuard<'_, VecDeque<Event>> {
        // A panic while it is held leaves whole events.
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
