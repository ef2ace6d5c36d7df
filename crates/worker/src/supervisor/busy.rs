//! What a worker is doing for whom, and how long that may take.

use std::time::{Duration, Instant};

use crate::board::Note;
use crate::client::Request;
use crate::frame::Entering;
use crate::{CallClass, Deadlines};

/// A call that takes longer than this shows in the status.
pub(super) const SLOW: Duration = Duration::from_secs(1);

/// Longest name of a foreign call that is believed, in characters.
const MAX_NAME: usize = 128;

/// The role's own work, where a call's name is expected.
const OWN_WORK: &str = "the worker's own work";

/// A request that the worker has.
pub(super) struct Busy {
    pub request: Request,
    pub doing: Doing,
    /// Last progress that is known.
    pub since: Instant,
    /// When the worker's board was looked at last.
    pub looked: Instant,
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
        let now = Instant::now();
        Busy { request, doing: Doing::OwnWork, since: now, looked: now, heard: false }
    }

    /// Whether it takes longer without progress than it may.
    pub fn is_overdue(&self, deadlines: &Deadlines) -> bool {
        self.since.elapsed() >= self.doing.patience(deadlines)
    }

    /// When to look at the board, if what the worker does stands there: often enough that a call which began just after the
    /// last look is given up in time.
    pub fn next_look(&self, deadlines: &Deadlines) -> Option<Instant> {
        let step = SLOW.min(deadlines.query).min(deadlines.own);
        self.doing.is_noted().then(|| self.since.max(self.looked) + step)
    }

    /// Takes over what the worker noted.
    pub fn take(&mut self, note: &Note) {
        self.heard = true;
        if self.doing.is_noted() {
            self.doing = Doing::noted(note);
            // Not back in time, whatever it says.
            self.since = note.since().map_or(self.since, |since| since.max(self.since));
        }
    }
}

impl Doing {
    /// The call that a worker enters, its name bounded and readable.
    pub fn of(entering: &Entering<'_>) -> Doing {
        let name = entering.call.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
        Doing::Call { name, class: entering.class, subject: entering.subject }
    }

    /// What the worker noted.
    fn noted(note: &Note) -> Doing {
        match &note.query {
            Some((call, subject)) => {
                let (call, class, subject) = (call.into(), CallClass::Query, *subject);
                Doing::of(&Entering { call, class, subject, notes: 0 })
            }
            None => Doing::OwnWork,
        }
    }

    /// Whether the worker notes what it does after this, and tells nobody.
    fn is_noted(&self) -> bool {
        matches!(self, Doing::OwnWork | Doing::Call { class: CallClass::Query, .. })
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
