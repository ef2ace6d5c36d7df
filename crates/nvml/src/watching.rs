//! The role that waits for events. GPUs are registered one by one, so that one that cannot be watched
//! does not cost the others' watch.

use std::time::Duration;

use gpu_model::GpuUuid;
use worker::{Channel, ChannelError};

use crate::binding::{Driver, EventSet, Failure, GpuKey, RawEvent};
use crate::protocol::{Refusal, Watch};
use crate::{Code, Event};

/// One wait. Long, since each end of one wakes the node.
const WAIT: Duration = Duration::from_secs(60);

/// One wait while there are GPUs to try again, or none to watch.
const SHORT_WAIT: Duration = Duration::from_secs(5);

/// Pause after a wait that failed, at first and at most.
const PAUSE: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30);

/// Pushes events until the library is of no use any more, and answers with the reason.
pub(crate) fn run(channel: &Channel) -> Result<(), ChannelError> {
    let Some(Watch) = channel.receive()? else { return Ok(()) };
    let refusal = match Driver::open(channel, channel.argument()) {
        Ok(driver) => match watch_for_ever(channel, &driver) {
            Err(End::Library(refusal)) => refusal,
            Err(End::Channel(error)) => return Err(error),
            Ok(()) => return Ok(()),
        },
        Err(refusal) => refusal,
    };
    channel.reply(&refusal)
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
    index: u32,
    reason: String,
    /// Whether another try may succeed.
    again: bool,
}

/// Returns `Ok` only when the parent went away during a pause.
fn watch_for_ever(channel: &Channel, driver: &Driver<'_>) -> Result<(), End> {
    if !driver.abilities.events {
        return Err(End::Library(Refusal::Garbage {
            reason: "this driver's library has no event sets".into(),
        }));
    }
    let mut pause = *PAUSE.start();
    loop {
        let failure = match watch_once(channel, driver, &mut pause)? {
            None => return Ok(()),
            Some(failure) if failure.code.needs_fresh_library() => return Err(End::Library(failure.into())),
            Some(failure) => failure,
        };
        let reason = format!("{} failed: {}", failure.call, failure.code);
        channel.push(&Event::Gap { reason })?;
        if !channel.rest(pause)? {
            return Ok(());
        }
        pause = (pause * 2).min(*PAUSE.end());
    }
}

/// Watches with one event set until it fails. A set that gave an event resets the pause. `None` when the parent
/// went away meanwhile.
fn watch_once(channel: &Channel, driver: &Driver<'_>, pause: &mut Duration) -> Result<Option<Failure>, End> {
    let set = match EventSet::create(driver) {
        Ok(set) => set,
        Err(failure) => return Ok(Some(failure)),
    };
    let mut watched = Watched::default();
    for index in 0..driver.gpu_count().map_err(End::Library)? {
        watched.add(driver, &set, index)?;
    }
    channel.push(&Event::Gap { reason: watched.describe() })?;
    loop {
        let outcome = if watched.gpus.is_empty() {
            // A driver may end a wait on an empty set at once, over and over.
            if !channel.rest(SHORT_WAIT)? {
                return Ok(None);
            }
            Ok(None)
        } else {
            set.wait(if watched.missing.iter().any(|gpu| gpu.again) { SHORT_WAIT } else { WAIT })
        };
        match outcome {
            Ok(Some(event)) => {
                *pause = *PAUSE.start();
                channel.push(&watched.name(event))?;
            }
            Ok(None) => {
                if let Some(reason) = watched.try_again(driver, &set)? {
                    channel.push(&Event::Gap { reason })?;
                }
            }
            Err(failure) => {
                set.free();
                return Ok(Some(failure));
            }
        }
    }
}

impl Watched {
    fn add(&mut self, driver: &Driver<'_>, set: &EventSet<'_>, index: u32) -> Result<(), End> {
        match register(driver, set, index) {
            Ok(known) => self.gpus.push(known),
            Err(failure) if failure.code.needs_fresh_library() => return Err(End::Library(failure.into())),
            Err(failure) => self.missing.push(Missing {
                index,
                reason: format!("GPU {index} is not watched: {} failed: {}", failure.call, failure.code),
                again: !matches!(failure.code, Code::NotSupported | Code::FunctionNotFound),
            }),
        }
        Ok(())
    }

    fn describe(&self) -> String {
        let all = self.gpus.len() + self.missing.len();
        let begins = format!("watching {} of {all} GPUs from now on", self.gpus.len());
        let missing = self.missing.iter().map(|gpu| gpu.reason.clone());
        std::iter::once(begins).chain(missing).collect::<Vec<_>>().join("; ")
    }

    /// Tries GPUs that could not be watched; says so when more are watched now.
    fn try_again(&mut self, driver: &Driver<'_>, set: &EventSet<'_>) -> Result<Option<String>, End> {
        let before = self.gpus.len();
        for missing in std::mem::take(&mut self.missing) {
            if missing.again {
                self.add(driver, set, missing.index)?;
            } else {
                self.missing.push(missing);
            }
        }
        Ok((self.gpus.len() > before).then(|| self.describe()))
    }

    fn name(&self, event: RawEvent) -> Event {
        let RawEvent { gpu, xid, gpu_instance, compute_instance } = event;
        match self.gpus.iter().find(|(key, _)| *key == gpu) {
            Some((_, uuid)) => Event::Xid { gpu: uuid.clone(), xid, gpu_instance, compute_instance },
            None => Event::Gap { reason: format!("XID {xid} on a GPU that is not watched") },
        }
    }
}

fn register(driver: &Driver<'_>, set: &EventSet<'_>, index: u32) -> Result<(GpuKey, GpuUuid), Failure> {
    let gpu = driver.gpu(index)?;
    let uuid = gpu.uuid()?;
    set.register(&gpu)?;
    Ok((gpu.key(), uuid))
}

impl From<ChannelError> for End {
    fn from(error: ChannelError) -> End {
        End::Channel(error)
    }
}
