//! The thread that tends one role's worker: it starts it, feeds it, watches its progress, gives it up,
//! and reaps it. It blocks in one `poll` and has no timer while there is nothing to wait for.
//!
//! ```text
//!            request                    reply
//!   Absent ──────────► Running ─ busy ─────────► Running ─ idle ──┐ ends in order
//!     ▲  ▲               │  no progress, garbage, death           │
//!     │  └─ pause over ─ BackingOff ◄──┘                          │
//!     └───────────────────────────────────────────────────────────┘
//! ```

mod abandoned;
mod backoff;
mod busy;
mod log;
mod preparation;
mod process;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::oneshot;

use self::abandoned::Abandoned;
use self::backoff::Pause;
use self::busy::{Busy, Doing, SLOW};
use self::preparation::Preparation;
use self::process::Process;
use crate::client::{Orders, Request, Shared};
use crate::frame::{Entering, Frame, Kind, Left, Resting};
use crate::{CallError, Spec, State, Status};

/// A `poll` that returns this much too late means that this process did not run either, so the worker
/// is not to blame.
const OVERSLEPT: Duration = Duration::from_secs(1);

pub(crate) struct Supervisor {
    spec: Spec,
    shared: Arc<Shared>,
    queue: VecDeque<Request>,
    process: Option<Process>,
    preparation: Preparation,
    busy: Option<Busy>,
    abandoned: Abandoned,
    /// Who waits until no process of the role is left.
    releases: Vec<oneshot::Sender<()>>,
    pause: Pause,
    full: bool,
    calls: u64,
    starts: u64,
    published: Status,
}

/// What `poll` found ready.
#[derive(Default)]
struct Ready {
    socket: bool,
    stderr: bool,
    /// The process has ended, although its socket may live on in a child of its own.
    exited: bool,
    overslept: bool,
}

impl Supervisor {
    pub fn new(spec: Spec, shared: Arc<Shared>) -> Supervisor {
        Supervisor {
            pause: Pause::new(spec.backoff),
            abandoned: Abandoned::new(spec.role),
            spec,
            shared,
            queue: VecDeque::new(),
            process: None,
            preparation: Preparation::default(),
            busy: None,
            releases: Vec::new(),
            full: false,
            calls: 0,
            starts: 0,
            published: Status::default(),
        }
    }

    pub fn run(&mut self) {
        while let Some(orders) = self.shared.take() {
            self.abandoned.reap();
            self.obey(orders);
            self.drop_unwanted();
            self.dispatch();
            self.publish();
            self.answer_releases();
            let ready = self.wait();
            self.heed(&ready);
        }
        self.end(&CallError::Closed, &State::Closed);
    }

    fn heed(&mut self, ready: &Ready) {
        if ready.stderr
            && let Some(process) = &mut self.process
        {
            process.log_lines();
        }
        // One that has ended may have written between the look at its socket and the look at itself.
        if ready.socket || ready.exited {
            self.listen(ready.exited);
        }
        self.look_if_due();
        self.check_deadline(ready.overslept);
    }

    /// After a panic: this role has no future.
    pub fn lost(&mut self) {
        tracing::error!(role = self.spec.role, "the thread that tends the worker died");
        self.end(&CallError::Lost, &State::Lost);
    }

    /// Ends the worker and everything that waits for it. Nobody waits for what comes then, but processes
    /// that have ended must be reaped.
    fn end(&mut self, reason: &CallError, state: &State) {
        self.abandon();
        self.fail_all(reason);
        self.tell(state.clone());
        self.shared.end(reason);
        // Those who wait learn the reason from there.
        self.releases.clear();
        while self.abandoned.count() > 0 {
            self.abandoned.wait();
            self.abandoned.reap();
            self.tell(state.clone());
        }
    }

    /// Gives up the process, if there is one.
    fn abandon(&mut self) {
        if let Some(process) = self.process.take() {
            self.abandoned.add(process);
        }
    }

    fn fail_all(&mut self, reason: &CallError) {
        let waiting = self.busy.take().map(|busy| busy.request).into_iter().chain(self.queue.drain(..));
        waiting.for_each(|request| request.answer.fail(reason.clone()));
    }

    fn obey(&mut self, mut orders: Orders) {
        let later = orders.requests.split_off(orders.released);
        self.queue.extend(orders.requests);
        if let Some(prepared) = orders.prepared {
            self.preparation.finish(prepared);
        }
        if !orders.releases.is_empty() {
            self.abandon();
            self.fail_all(&CallError::Released);
            self.releases.extend(orders.releases);
        }
        self.queue.extend(later);
    }

    /// Tells those who wait for it that nothing is held any more, after the status said so.
    fn answer_releases(&mut self) {
        if self.abandoned.count() == 0 {
            for released in self.releases.drain(..) {
                // One who does not wait any more need not be told.
                let _ = released.send(());
            }
        }
    }

    /// A watch that nobody waits for would go on for ever: its worker is ended.
    fn drop_unwanted(&mut self) {
        self.queue.retain(|request| request.answer.wanted());
        let gone = |busy: &mut Busy| busy.request.answer.watches() && !busy.request.answer.wanted();
        if self.busy.take_if(gone).is_some() {
            self.abandon();
        }
    }

    /// Gives the worker its next request, starting one if needed.
    fn dispatch(&mut self) {
        while self.busy.is_none() {
            let now = Instant::now();
            let due = |request: &Request| request.not_before.is_none_or(|time| time <= now);
            let Some(at) = self.queue.iter().position(due) else { break };
            let started = if self.process.is_some() { Ok(true) } else { self.start(now) };
            if let Ok(false) = started {
                break;
            }
            let Some(request) = self.queue.remove(at) else { break };
            match (started, &mut self.process) {
                (Err(error), _) => request.answer.fail(error),
                (Ok(_), Some(process)) => {
                    process.send(&request.frame);
                    self.busy = Some(Busy::new(request));
                }
                (Ok(_), None) => request.answer.fail(CallError::Lost),
            }
        }
        self.preparation.forget();
    }

    /// Starts a worker; `false` when it is not time yet.
    fn start(&mut self, now: Instant) -> Result<bool, CallError> {
        let count = self.abandoned.count();
        self.full = count >= self.spec.max_abandoned;
        if self.full {
            return Err(CallError::TooManyAbandoned { count });
        }
        if self.pause.until().is_some_and(|until| until > now) {
            return Ok(false);
        }
        let Some(prepared) = self.preparation.next(&self.spec, &self.shared, now) else { return Ok(false) };
        let launch = prepared.map_err(|reason| CallError::NotReady { reason })?;
        let process = Process::start(&self.spec, &launch).inspect_err(|error| {
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            self.pause.after_failure(format!("{error}{cause}"));
        })?;
        self.starts += 1;
        tracing::debug!(role = self.spec.role, pid = process.pid(), "worker started");
        self.process = Some(process);
        Ok(true)
    }

    /// Blocks until something happens, without a timeout unless something is due.
    fn wait(&mut self) -> Ready {
        let timeout = self.next_time().map(|time| time.saturating_duration_since(Instant::now()));
        let timespec = timeout.and_then(|time| Timespec::try_from(time).ok());
        let begun = Instant::now();
        let process = self.process.as_ref();
        let sources = [
            Some(PollFd::new(&self.shared.wake, PollFlags::IN)),
            process.map(|process| PollFd::new(process.socket(), process.interest())),
            process.and_then(Process::stderr).map(|pipe| PollFd::new(pipe, PollFlags::IN)),
            process.and_then(Process::pidfd).map(|pidfd| PollFd::new(pidfd, PollFlags::IN)),
        ];
        let mut places = [None; 4];
        let mut watched = Vec::new();
        for (place, source) in places.iter_mut().zip(sources) {
            *place = source.is_some().then_some(watched.len());
            watched.extend(source);
        }
        watched.extend(self.abandoned.pidfds().map(|pidfd| PollFd::new(pidfd, PollFlags::IN)));
        let polled = poll(&mut watched, timespec.as_ref());
        let overslept = timeout.is_some_and(|time| begun.elapsed() > time.saturating_add(OVERSLEPT));
        if let Err(error) = polled {
            // Interrupted: look at everything again.
            tracing::trace!(role = self.spec.role, %error, "poll");
            return Ready { overslept, ..Ready::default() };
        }
        let [woken, socket, stderr, exited] = places
            .map(|place| place.and_then(|at| watched.get(at)).is_some_and(|fd| !fd.revents().is_empty()));
        let ready = Ready { socket, stderr, exited, overslept };
        if woken {
            let _ = rustix::io::read(&self.shared.wake, &mut [0; 8]);
        }
        ready
    }

    /// When there is something to do although nothing happens.
    fn next_time(&self) -> Option<Instant> {
        let busy = self.busy.as_ref();
        let deadlines = &self.spec.deadlines;
        let deadline = busy.and_then(|busy| busy.since.checked_add(busy.doing.patience(deadlines)));
        let slow = busy.filter(|busy| !busy.doing.waits()).map(|busy| busy.since + SLOW);
        let slow = slow.filter(|_| !matches!(self.published.state, State::Slow { .. }));
        let look = busy.and_then(|busy| busy.next_look(deadlines));
        [deadline, slow, look, self.next_dispatch(), self.abandoned.next_look()].into_iter().flatten().min()
    }

    /// When the next request can be sent: not before its own time and, if that takes a new worker, not
    /// during the pause, and not while its start is prepared. The latest of these counts: waking at an
    /// earlier one would spin until then.
    fn next_dispatch(&self) -> Option<Instant> {
        if self.busy.is_some() {
            return None;
        }
        let start = self.pause.until().max(self.preparation.overdue_at(self.spec.deadlines.own));
        let start = start.filter(|_| self.process.is_none());
        self.queue.iter().filter_map(|request| request.not_before.max(start)).min()
    }

    /// Takes what the worker says, and said last if it `has_exited`.
    fn listen(&mut self, has_exited: bool) {
        let Some(process) = &mut self.process else { return };
        process.flush();
        let ended = match process.read(has_exited) {
            Ok(ended) => ended,
            Err(error) => return self.garbage(error.to_string()),
        };
        loop {
            let Some(process) = &mut self.process else { return };
            match process.next_frame() {
                Ok(Some(frame)) => {
                    if let Err(reason) = self.hear(frame) {
                        return self.garbage(reason);
                    }
                }
                Ok(None) => break,
                Err(error) => return self.garbage(error.to_string()),
            }
        }
        if ended {
            self.ended();
        }
    }

    fn look_if_due(&mut self) {
        let look = self.busy.as_ref().and_then(|busy| busy.next_look(&self.spec.deadlines));
        if look.is_some_and(|look| look <= Instant::now()) {
            self.look_at_board();
        }
    }

    /// Takes over what the worker noted and told nobody.
    fn look_at_board(&mut self) {
        let (Some(process), Some(busy)) = (&mut self.process, &mut self.busy) else { return };
        let (calls, note) = process.board().look();
        // Whatever number it writes there.
        self.calls = self.calls.saturating_add(calls);
        busy.looked = Instant::now();
        if let Some(note) = note {
            busy.take(&note);
        }
    }

    fn hear(&mut self, frame: Frame) -> Result<(), String> {
        if frame.kind == Kind::Reply {
            self.look_at_board();
        }
        let board = self.process.as_mut().map(Process::board);
        let busy = self.busy.as_mut().ok_or("a frame without a request")?;
        busy.heard = true;
        busy.since = Instant::now();
        match frame.kind {
            Kind::Entering => {
                let entering: Entering<'_> = serde_json::from_slice(&frame.payload)
                    .map_err(|error| format!("no name of a call: {error}"))?;
                busy.doing = Doing::of(&entering);
                self.calls = self.calls.saturating_add(1);
                board.into_iter().for_each(|board| board.passed_over(entering.notes));
            }
            Kind::Left => {
                let left: Left = serde_json::from_slice(&frame.payload)
                    .map_err(|error| format!("no word of what is over: {error}"))?;
                busy.doing = Doing::OwnWork;
                board.into_iter().for_each(|board| board.passed_over(left.notes));
            }
            Kind::Resting => {
                let resting: Resting = serde_json::from_slice(&frame.payload)
                    .map_err(|error| format!("no time of rest: {error}"))?;
                busy.doing = Doing::Rest(resting.at_most);
            }
            Kind::Event => busy.request.answer.event(&frame.payload)?,
            Kind::Reply => {
                let busy = self.busy.take().ok_or("a reply without a request")?;
                // Before the answer: who has it finds its calls counted.
                self.publish();
                // A watch that is answered has failed all the same, only in order.
                if !busy.request.answer.watches() {
                    self.pause.reset();
                }
                busy.request.answer.reply(&frame.payload)?;
            }
            Kind::Request => return Err("a request, which only the parent makes".to_owned()),
        }
        Ok(())
    }

    /// The worker closed its end of the socket, or has ended.
    fn ended(&mut self) {
        self.look_at_board();
        let Some(mut process) = self.process.take() else { return };
        process.log_lines();
        let pid = process.pid();
        let ending = process.ending();
        let in_order = ending.as_ref().is_some_and(|ending| ending.in_order);
        let how = ending.map_or_else(|| "it closed its socket".to_owned(), |ending| ending.how);
        self.abandoned.add(process);
        let role = self.spec.role;
        match self.busy.take() {
            None if in_order => tracing::debug!(role, pid, "worker ended in order"),
            None => {
                tracing::warn!(role, pid, how, "idle worker died");
                self.pause.after_failure(how);
            }
            // It ended in order while the request was on its way: nothing was lost.
            Some(busy) if in_order && !busy.heard && !busy.request.resent => {
                self.queue.push_front(Request { resent: true, ..busy.request });
            }
            Some(busy) => {
                let (call, subject) = (busy.doing.name(), busy.doing.subject());
                tracing::warn!(role, pid, call, subject, how, "worker died");
                self.pause.after_failure(format!("died in {call}: {how}"));
                self.publish();
                busy.request.answer.fail(CallError::Crashed { call, subject, how });
            }
        }
    }

    /// The worker cannot be trusted any more.
    fn garbage(&mut self, reason: String) {
        self.look_at_board();
        let Some(process) = self.process.take() else { return };
        tracing::warn!(
            role = self.spec.role,
            pid = process.pid(),
            reason,
            "worker sent garbage and is given up"
        );
        self.abandoned.add(process);
        let busy = self.busy.take();
        self.pause.after_failure(reason.clone());
        self.publish();
        if let Some(busy) = busy {
            busy.request.answer.fail(CallError::Garbage { reason });
        }
    }

    fn check_deadline(&mut self, overslept: bool) {
        let Some(busy) = &mut self.busy else { return };
        if overslept {
            busy.since = Instant::now();
            return;
        }
        if busy.is_overdue(&self.spec.deadlines) {
            // It may have gone on to another call, and only noted it.
            self.look_at_board();
        }
        let Some(busy) = self.busy.as_ref().filter(|busy| busy.is_overdue(&self.spec.deadlines)) else {
            return;
        };
        let after = busy.doing.patience(&self.spec.deadlines);
        let (call, subject) = (busy.doing.name(), busy.doing.subject());
        let pid = self.process.as_ref().map(Process::pid);
        tracing::error!(role = self.spec.role, pid, call, subject, ?after, "no progress: worker is given up");
        self.abandon();
        self.pause.after_failure(format!("no progress in {call} within {after:?}"));
        let busy = self.busy.take();
        self.publish();
        if let Some(busy) = busy {
            busy.request.answer.fail(CallError::Stuck { call, subject, after });
        }
    }

    fn publish(&mut self) {
        self.look_if_due();
        let now = Instant::now();
        let state = match (&self.process, &self.busy) {
            (Some(process), Some(busy)) if !busy.doing.waits() && now >= busy.since + SLOW => {
                State::Slow { pid: process.pid(), call: busy.doing.name(), since: busy.since }
            }
            (Some(process), _) => State::Running { pid: process.pid() },
            (None, _) if self.full && self.abandoned.count() >= self.spec.max_abandoned => State::Full,
            (None, _) => match self.pause.until().filter(|until| *until > now) {
                Some(until) => State::BackingOff { until, reason: self.pause.reason().to_owned() },
                None => State::Absent,
            },
        };
        // Between two calls of one request only the count changes; it is told with what follows.
        let is_same = state == self.published.state && self.abandoned.count() == self.published.abandoned;
        let quiet = is_same && self.busy.is_some();
        if !quiet {
            self.tell(state);
        }
    }

    fn tell(&mut self, state: State) {
        let status =
            Status { state, abandoned: self.abandoned.count(), calls: self.calls, starts: self.starts };
        if status != self.published {
            (self.spec.observe)(&status);
            self.published = status;
        }
    }
}

impl Drop for Supervisor {
    /// Also after a second panic: nobody waits for an answer that cannot come.
    fn drop(&mut self) {
        self.shared.end(&CallError::Lost);
    }
}

/// Whether a non-blocking operation should simply be tried when the file is ready again.
fn is_not_now(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
