//! The role that waits for events. GPUs are registered one by one, so that one that cannot be watched
//! does not cost the others' watch.

use std::time::{Duration, Instant};

use gpu_model::{GpuFailure, GpuUuid};
use worker::{Channel, ChannelError};

use crate::binding::{Driver, EventSet, Failure, GpuKey, RawEvent, RawKind};
use crate::protocol::{Refusal, Watch};
use crate::reach::{Place, Reach};
use crate::row::Row;
use crate::{Code, Event};

/// One wait while there are GPUs to try again.
const SHORT_WAIT: Duration = Duration::from_secs(5);

/// Pushes events until the library is of no use any more, and answers with the reason.
pub(crate) fn run(channel: &Channel) -> Result<(), ChannelError> {
    let Some(watch) = channel.receive::<Watch>()? else { return Ok(()) };
    let begun = Instant::now();
    let skip = watch
        .skip
        .into_iter()
        .map(|(failure, time)| Skipped { failure, until: time.map(|time| begun + time) });
    let refusal = match Driver::open(channel, channel.argument()) {
        Ok(driver) => {
            let watcher = Watcher {
                channel,
                driver: &driver,
                wait: watch.wait,
                reach: watch.reach,
                skip: skip.collect(),
            };
            match watcher.watch_for_ever() {
                Err(End::Library(refusal)) => refusal,
                Err(End::Channel(error)) => return Err(error),
                Ok(()) => return Ok(()),
            }
        }
        Err(refusal) => refusal,
    };
    channel.reply(&refusal)
}

struct Watcher<'a> {
    channel: &'a Channel,
    driver: &'a Driver<'a>,
    /// One wait. Long, since each end of one wakes the node.
    wait: Duration,
    reach: Reach,
    skip: Vec<Skipped>,
}

/// A GPU that must not be touched for now.
struct Skipped {
    failure: GpuFailure,
    /// Not in this process without one.
    until: Option<Instant>,
}

/// Why watching is over.
enum End {
    Library(Refusal),
    Channel(ChannelError),
}

/// The GPUs of one event set.
#[derive(Default)]
struct Watched {
    gpus: Vec<(GpuKey, GpuUuid)>,
    missing: Vec<Missing>,
}

/// A GPU that is not watched.
struct Missing {
    place: Place,
    reason: String,
    /// When another try may succeed.
    again: Option<Instant>,
}

impl Watcher<'_> {
    /// Returns `Ok` only when the parent went away during a pause.
    fn watch_for_ever(&self) -> Result<(), End> {
        if !self.driver.abilities.events {
            let reason = "this driver's library has no event sets".to_owned();
            return Err(End::Library(Refusal::NotSupported { reason }));
        }
        // One lost GPU fails everybody's wait: the first new set, without it, comes at once.
        let mut row = Row::new(1);
        loop {
            let begun = Instant::now();
            let Some(failure) = self.watch_once()? else { return Ok(()) };
            if failure.code.needs_fresh_library() {
                return Err(End::Library(failure.into()));
            }
            let reason = format!("{} failed: {}", failure.call, failure.code);
            self.channel.push(&Event::Gap { reason })?;
            let pause = row.pause(begun.elapsed());
            if !pause.is_zero() && !self.channel.rest(pause)? {
                return Ok(());
            }
        }
    }

    /// Watches with one event set until it fails. `None` when the parent went away meanwhile.
    fn watch_once(&self) -> Result<Option<Failure>, End> {
        let set = match EventSet::create(self.driver) {
            Ok(set) => set,
            Err(failure) => return Ok(Some(failure)),
        };
        let mut watched = Watched::default();
        for place in self.driver.places(&self.reach).map_err(End::Library)? {
            match self.skip.iter().find(|skipped| skipped.failure.index == place.index) {
                Some(skipped) if skipped.until.is_none_or(|until| until > Instant::now()) => {
                    watched.leave_out(place, skipped)
                }
                _ => watched.add(self.driver, &set, place)?,
            }
        }
        self.channel.push(&Event::Gap { reason: watched.describe() })?;
        loop {
            let time = watched.next_try().map_or(self.wait, |time| time.min(self.wait));
            let outcome = if watched.gpus.is_empty() {
                // A driver may end a wait on an empty set at once, over and over.
                if !self.channel.rest(time)? {
                    return Ok(None);
                }
                Ok(None)
            } else {
                set.wait(time)
            };
            match outcome {
                Ok(Some(event)) => self.channel.push(&watched.name(event))?,
                Ok(None) => {
                    if let Some(reason) = watched.try_again(self.driver, &set)? {
                        self.channel.push(&Event::Gap { reason })?;
                    }
                }
                Err(failure) => {
                    set.free();
                    return Ok(Some(failure));
                }
            }
        }
    }
}

impl Watched {
    fn add(&mut self, driver: &Driver<'_>, set: &EventSet<'_>, place: Place) -> Result<(), End> {
        match register(driver, set, place) {
            Ok(known) => self.gpus.push(known),
            Err(failure) if failure.code.needs_fresh_library() => return Err(End::Library(failure.into())),
            Err(Failure { call, code }) => {
                let is_final = matches!(code, Code::NotSupported | Code::FunctionNotFound);
                self.miss(place, call, code, (!is_final).then(Instant::now));
            }
        }
        Ok(())
    }

    fn leave_out(&mut self, place: Place, skipped: &Skipped) {
        let GpuFailure { call, code, .. } = &skipped.failure;
        self.miss(place, call, Code::from(*code), skipped.until);
    }

    fn miss(&mut self, place: Place, call: &str, code: Code, again: Option<Instant>) {
        let reason = format!("GPU {} is not watched: {call} failed: {code}", place.index);
        self.missing.push(Missing { place, reason, again });
    }

    fn describe(&self) -> String {
        let all = self.gpus.len() + self.missing.len();
        let begins = format!("watching {} of {all} GPUs from now on", self.gpus.len());
        let missing = self.missing.iter().map(|gpu| gpu.reason.clone());
        std::iter::once(begins).chain(missing).collect::<Vec<_>>().join("; ")
    }

    /// Time to the next try of one that is not watched.
    fn next_try(&self) -> Option<Duration> {
        let soonest = self.missing.iter().filter_map(|gpu| gpu.again).min()?;
        Some(soonest.saturating_duration_since(Instant::now()).max(SHORT_WAIT))
    }

    /// Tries GPUs that could not be watched; says so when more are watched now.
    fn try_again(&mut self, driver: &Driver<'_>, set: &EventSet<'_>) -> Result<Option<String>, End> {
        let before = self.gpus.len();
        for missing in std::mem::take(&mut self.missing) {
            if missing.again.is_some_and(|again| again <= Instant::now()) {
                self.add(driver, set, missing.place)?;
            } else {
                self.missing.push(missing);
            }
        }
        Ok((self.gpus.len() > before).then(|| self.describe()))
    }

    fn name(&self, event: RawEvent) -> Event {
        let gpu = self.gpus.iter().find(|(key, _)| *key == event.gpu).map(|(_, uuid)| uuid.clone());
        match (gpu, event.kind) {
            (Some(gpu), RawKind::Xid { xid, gpu_instance, compute_instance }) => {
                Event::Xid { gpu, xid, gpu_instance, compute_instance }
            }
            (Some(gpu), RawKind::MigChange) => Event::MigChange { gpu },
            (None, RawKind::Xid { xid, .. }) => {
                Event::Gap { reason: format!("XID {xid} on a GPU that is not watched") }
            }
            (None, RawKind::MigChange) => {
                Event::Gap { reason: "a GPU that is not watched is partitioned otherwise".to_owned() }
            }
        }
    }
}

fn register(driver: &Driver<'_>, set: &EventSet<'_>, place: Place) -> Result<(GpuKey, GpuUuid), Failure> {
    let gpu = driver.gpu(place)?;
    let uuid = gpu.uuid()?;
    set.register(&gpu)?;
    Ok((gpu.key(), uuid))
}

impl From<ChannelError> for End {
    fn from(error: ChannelError) -> End {
        End::Channel(error)
    }
}
