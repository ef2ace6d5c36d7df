//! What a worker is doing for whom, and how long that may take.

use std::time::{Duration, Instant};

use crate::client::Request;
use crate::frame::Entering;
use crate::{CallClass, Deadlines};

/// Longest name of a foreign call that is believed, in characters.
const MAX_NAME: usize = 128;

/// The role's own work, where a call's name is expected.
const OWN_WORK: &str = "the worker's own work";

/// A request that the worker has.
pub(super) struct Busy {
    pub request: Request,
    pub doing: Doing,
    /// Last progress.
    pub since: Instant,
    /// Whether anything came back for this request.
    pub heard: bool,
}

/// What a worker says that it does.
pub(super) enum Doing {
    OwnWork,
    Call { name: String, class: CallClass, subject: Option<u32> },
    Rest(Duration),
}

impl Busy {
    /// The request was just sent.
    pub fn new(request: Request) -> Busy {
        Busy { request, doing: Doing::OwnWork, since: Instant::now(), heard: false }
    }
}

impl Doing {
    /// The call that a worker enters, its name bounded and readable.
    pub fn of(entering: &Entering<'_>) -> Doing {
        let name = entering.call.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
        Doing::Call { name, class: entering.class, subject: entering.subject }
    }

    /// How long it may take without progress.
    pub fn patience(&self, deadlines: &Deadlines) -> Duration {
        match self {
            Doing::OwnWork => deadlines.own,
            Doing::Call { class, .. } => deadlines.of(*class),
            Doing::Rest(time) => time.saturating_add(deadlines.own),
        }
    }

    /// Whether it is meant to take its time.
    pub fn waits(&self) -> bool {
        matches!(self, Doing::Call { class: CallClass::Wait { .. }, .. } | Doing::Rest(_))
    }

    pub fn name(&self) -> String {
        match self {
            Doing::Call { name, .. } => name.clone(),
            Doing::OwnWork | Doing::Rest(_) => OWN_WORK.to_owned(),
        }
    }

    pub fn subject(&self) -> Option<u32> {
        match self {
            Doing::Call { subject, .. } => *subject,
            Doing::OwnWork | Doing::Rest(_) => None,
        }
    }
}
