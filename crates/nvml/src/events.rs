//! Critical events (XIDs) as a stream that says when it may have missed some.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gpu_model::{GpuFailure, GpuUuid};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use worker::{CallError, Pending, Worker};

use crate::protocol::{EVENTS, Refusal, Watch};
use crate::reach::Reach;
use crate::row::Row;
use crate::suspects::{Suspects, Touch, blame};
use crate::{NvmlError, Status};

/// Events that wait for a slow reader; more are replaced by one gap.
const MAX_WAITING: usize = 1024;

/// Longest pause while there is no driver, which should be noticed soon when it comes.
const MAX_PAUSE_NO_DRIVER: Duration = Duration::from_secs(4);

/// Pause after a driver said that it has no events: only another driver changes that.
const PAUSE_NOT_SUPPORTED: Duration = Duration::from_secs(600);

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
    /// The MIG mode or instances of a GPU changed. Not every driver tells this: a probe sees it too.
    MigChange {
        /// The GPU.
        gpu: GpuUuid,
    },
}

/// Events, from [`crate::Nvml::events`].
#[derive(Debug)]
pub struct EventStream {
    worker: Worker,
    buffer: Arc<Buffer>,
    watch: Option<Pending<Refusal>>,
    reach: Reach,
    /// Longest time of one wait.
    wait: Duration,
    row: Row,
    suspects: Suspects,
    status: watch::Receiver<Status>,
    /// The watch leaves GPUs out for as long as a worker hangs in the driver.
    awaits_release: bool,
    /// The last failure that was told; the same again is not.
    told: Option<String>,
    /// A failure to tell, after what the worker sent before it.
    gap: Option<String>,
    pause: Duration,
    is_over: bool,
    _place: Place,
}

/// Counts the streams of one [`crate::Nvml`]: the worker serves one at a time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Streams(Arc<AtomicUsize>);

/// One stream's place among them.
#[derive(Debug)]
struct Place(Streams);

#[derive(Debug, Default)]
struct Buffer {
    received: Mutex<Received>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Received {
    events: VecDeque<Event>,
    /// When the watch that stands, or stood last, gave its first event.
    stands_since: Option<Instant>,
}

impl EventStream {
    pub(crate) fn new(
        worker: Worker,
        status: watch::Receiver<Status>,
        streams: &Streams,
        reach: Reach,
        wait: Duration,
        suspicion: Duration,
    ) -> EventStream {
        let (place, is_first) = streams.enter();
        let second = "another stream has the events; this one begins when that one is dropped";
        EventStream {
            worker,
            buffer: Arc::default(),
            watch: None,
            reach,
            wait,
            row: Row::new(0),
            suspects: Suspects::new(suspicion),
            status,
            awaits_release: false,
            told: None,
            gap: (!is_first).then(|| second.to_owned()),
            pause: Duration::ZERO,
            is_over: false,
            _place: place,
        }
    }

    /// The next event. Trouble with the driver does not end the stream: it is an [`Event::Gap`] with the
    /// reason, told once, and the watch is tried again (after 1 to 30 s, or ten minutes where the driver
    /// has no events). Another gap follows when the watch stands. `None` after [`crate::Nvml::shutdown`],
    /// or when the thread that tends the worker died. Dropping the future loses no event.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.buffer.pop() {
                // Whatever comes from the worker means that the watch stood.
                self.told = None;
                return Some(event);
            }
            if let Some(reason) = self.gap.take() {
                return Some(Event::Gap { reason });
            }
            if self.is_over {
                return None;
            }
            let watch = self.watch.get_or_insert_with(|| {
                // The driver has not let go of an earlier worker: another one would share its fate.
                let hangs = self.status.borrow().events.abandoned > 0;
                let skip = self.suspects.all(Instant::now() + self.pause, !hangs);
                self.awaits_release = hangs && !skip.is_empty();
                let buffer = Arc::clone(&self.buffer);
                let asked = Watch { wait: self.wait, reach: self.reach.clone(), skip };
                self.worker.watch(&asked, self.pause, move |event| buffer.push(event))
            });
            let ended = tokio::select! {
                biased;
                () = self.buffer.arrived.notified() => continue,
                ended = watch => ended,
                () = nobody_hangs(&mut self.status), if self.awaits_release => {
                    // The new watch tries all of them, and its gap says which it has.
                    self.watch = None;
                    self.buffer.stood();
                    self.pause = Duration::ZERO;
                    continue;
                }
            };
            self.watch = None;
            match ended {
                Ok(refusal) => self.failed(&refusal.into(), None),
                Err(CallError::Closed | CallError::Lost) => self.is_over = true,
                Err(error) => {
                    let culprit = blame(&error);
                    self.failed(&error.into(), culprit);
                }
            }
        }
    }

    /// Sets the pause before the next try, and the gap unless the same was told before.
    fn failed(&mut self, error: &NvmlError, culprit: Option<GpuFailure>) {
        let stood = self.buffer.stood();
        // One that left them out all the time says nothing about them.
        if !self.awaits_release {
            self.suspects.survived(stood);
        }
        if let Some(failure) = culprit {
            self.suspects.blame(Touch::Gpu, failure, Instant::now());
        }
        let pause = self.row.pause(stood);
        self.pause = match error {
            error if error.ends_the_driver() => pause.min(MAX_PAUSE_NO_DRIVER),
            NvmlError::NotSupported { .. } => PAUSE_NOT_SUPPORTED,
            _ => pause,
        };
        if error.ends_the_driver() {
            self.suspects.forget_all();
        }
        let reason = error.to_string();
        if self.told.as_ref() != Some(&reason) {
            tracing::warn!(role = EVENTS, reason, "GPU events are not watched");
            self.gap = Some(reason.clone());
            self.told = Some(reason);
        }
    }
}

/// The next event of a stream, as [`EventStream::next`] has it; for ever none while there is no stream.
pub async fn next_event(events: &mut Option<EventStream>) -> Option<Event> {
    match events {
        Some(events) => events.next().await,
        None => std::future::pending().await,
    }
}

/// Returns when no worker for events hangs any more.
async fn nobody_hangs(status: &mut watch::Receiver<Status>) {
    if status.wait_for(|status| status.events.abandoned == 0).await.is_err() {
        // Nobody is left to tell; the watch itself ends then.
        std::future::pending().await
    }
}

impl Streams {
    /// A place, and whether it is the only one.
    fn enter(&self) -> (Place, bool) {
        let others = self.0.fetch_add(1, Ordering::Relaxed);
        (Place(self.clone()), others == 0)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Buffer {
    fn push(&self, event: Event) {
        let mut received = self.received();
        received.stands_since.get_or_insert_with(Instant::now);
        let events = &mut received.events;
        if events.len() >= MAX_WAITING {
            events.clear();
            events.push_back(Event::Gap {
                reason: format!("more than {MAX_WAITING} events waited to be read"),
            });
        }
        events.push_back(event);
        drop(received);
        self.arrived.notify_one();
    }

    fn pop(&self) -> Option<Event> {
        self.received().events.pop_front()
    }

    /// For how long the watch stood that has just ended.
    fn stood(&self) -> Duration {
        self.received().stands_since.take().map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn received(&self) -> MutexGuard<'_, Received> {
        // A panic while it is held leaves whole events.
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Nvml};

    fn failure(index: u32) -> GpuFailure {
        let call = "nvmlDeviceRegisterEvents".into();
        GpuFailure { index, call, code: gpu_model::failure::NO_RETURN }
    }

    /// A stream that suspects GPU 3, with pauses so short that its watch, which began, stands for longer.
    fn suspicious() -> EventStream {
        let mut config = Config::default();
        config.deadlines.query = Duration::from_nanos(1);
        let nvml = Nvml::start(config, Arc::new(|| Err("nobody asks".into()))).unwrap();
        let mut stream = nvml.events();
        stream.suspects.blame(Touch::Gpu, failure(3), Instant::now());
        stream.buffer.push(Event::Gap { reason: "watching".into() });
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_micros(1) {}
        stream
    }

    fn suspects(stream: &EventStream) -> Vec<u32> {
        stream.suspects.all(Instant::now(), true).iter().map(|(failure, _)| failure.index).collect()
    }

    #[test]
    fn watch_that_outlived_every_pause_ends_the_suspicions_but_the_one_that_ended_it() {
        let mut stream = suspicious();
        stream.failed(&NvmlError::Released, Some(failure(5)));
        assert_eq!(suspects(&stream), [5]);
    }

    #[test]
    fn watch_that_left_the_suspects_out_ends_no_suspicion() {
        let mut stream = suspicious();
        stream.awaits_release = true;
        stream.failed(&NvmlError::Released, None);
        assert_eq!(suspects(&stream), [3]);
    }

    #[test]
    fn events_that_nobody_reads_are_replaced_by_one_gap() {
        let buffer = Buffer::default();
        let gpu: GpuUuid = "GPU-00000000-0000-0000-0000-000000000001".parse().unwrap();
        let xid = |xid| Event::Xid { gpu: gpu.clone(), xid, gpu_instance: None, compute_instance: None };
        (0..=MAX_WAITING as u64).for_each(|number| buffer.push(xid(number)));
        match buffer.pop() {
            Some(Event::Gap { reason }) => assert_eq!(reason, "more than 1024 events waited to be read"),
            other => panic!("{other:?}"),
        }
        assert_eq!(buffer.pop(), Some(xid(MAX_WAITING as u64)));
        assert_eq!(buffer.pop(), None);
    }

    #[test]
    fn watch_that_ended_is_known_to_have_stood_from_its_first_event() {
        let buffer = Buffer::default();
        assert_eq!(buffer.stood(), Duration::ZERO);
        buffer.push(Event::Gap { reason: "watching".into() });
        assert!(buffer.stood() > Duration::ZERO);
        assert_eq!(buffer.stood(), Duration::ZERO);
    }
}
