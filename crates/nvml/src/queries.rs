//! The role that answers queries: one library, opened at the first query, given up with the process
//! when it is of no use any more.

mod details;
mod inventory;
mod liveness;
mod mig;
mod topology;

use gpu_model::{GpuFailure, GpuUuid};
use serde::Serialize;
use worker::{Channel, ChannelError};

use crate::binding::{Driver, Failure, Gpu};
use crate::protocol::{Answer, Query, Refusal, Subject};
use crate::reach::{Place, Reach};

/// Which GPUs a question is about.
struct Scope {
    reach: Reach,
    /// Those that must not be asked, each with the failure that stands in its place.
    skip: Vec<GpuFailure>,
}

/// GPUs that a question identified, for the next one: their handles live as long as the library.
#[derive(Default)]
struct Identified<'d> {
    /// Of which GPUs these are all that could be identified.
    reach: Reach,
    gpus: Vec<Known<'d>>,
}

/// One of them.
struct Known<'d> {
    place: Place,
    gpu: Gpu<'d>,
    uuid: GpuUuid,
    /// Device and vendor id on the PCI bus, of which those of the same model have the same. None where it is not known, and
    /// for a partitioned GPU, which says nothing of whole ones.
    model: Option<u32>,
}

/// Serves queries until the parent wants no more, or the library is of no use: the parent then starts
/// a fresh process for the next one.
pub(crate) fn run(channel: &Channel) -> Result<(), ChannelError> {
    let Some(first) = channel.receive::<Query>()? else { return Ok(()) };
    let driver = match Driver::open(channel, channel.argument()) {
        Ok(driver) => driver,
        Err(refusal) => return channel.reply(&Answer::<()>::Err(refusal)),
    };
    let mut identified = None;
    let mut next = Some(first);
    while let Some(query) = next {
        let scope = Scope { reach: query.reach, skip: query.skip };
        let usable = match query.about {
            Subject::Inventory => answer(channel, inventory::take(&driver, &scope, &mut identified))?,
            Subject::Details(wanted) => {
                answer(channel, details::take(&driver, &scope, &wanted, identified.as_ref()))?
            }
            Subject::Topology => answer(channel, topology::take(&driver, &scope))?,
            Subject::Probe => answer(channel, liveness::probe(&driver, &scope))?,
        };
        if !usable {
            return Ok(());
        }
        next = channel.receive()?;
    }
    Ok(())
}

/// Replies, and says whether the library may be asked again.
fn answer<T: Serialize>(channel: &Channel, answer: Answer<T>) -> Result<bool, ChannelError> {
    channel.reply(&answer)?;
    Ok(answer.is_ok())
}

impl Scope {
    fn places(&self, driver: &Driver<'_>) -> Result<Vec<Place>, Refusal> {
        driver.places(&self.reach)
    }

    /// What to say of the GPU without asking it.
    fn failure(&self, index: u32) -> Option<&GpuFailure> {
        self.skip.iter().find(|failure| failure.index == index)
    }
}

/// One GPU's failure, or the whole library's as an error.
fn of_one_gpu(index: u32, failure: Failure) -> Result<GpuFailure, Refusal> {
    let Failure { call, code } = failure;
    if code.needs_fresh_library() {
        return Err(failure.into());
    }
    Ok(GpuFailure { index, call: call.to_owned(), code: code.into() })
}
