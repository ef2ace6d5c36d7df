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
mod log;
mod process;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::abandoned::Abandoned;
use self::backoff::Pause;
use self::process::Process;
use crate::client::{Request, Shared};
use crate::frame::{Entering, Frame, Kind};
use crate::{CallClass, CallError, Spec, State, Status};

/// A call that takes longer than this shows in the status.
const SLOW: Duration = Duration::from_secs(1);

/// A `poll` that returns this much too late means that this process did not run either, so the worker
/// is not to blame.
const OVERSLEPT: Duration = Duration::from_secs(1);

/// Longest name of a foreign call that is believed, in characters.
const MAX_NAME: usize = 128;

/// The role's own work, where a call's name is expected.
const OWN_WORK: &str = "the worker's own work";

pub(crate) struct Supervisor {
    spec: Spec,
    shared: Arc<Shared>,
    queue: VecDeque<Request>,
    process: Option<Process>,
    busy: Option<Busy>,
    abandoned: Abandoned,
    pause: Pause,
    full: bool,
    calls: u64,
    starts: u64,
    published: Status,
}

/// A request that the worker has.
struct Busy {
    request: Request,
    /// The foreign call that it is in.
    call: Option<(String, CallClass)>,
    /// Last progress.
    since: Instant,
    /// Whether anything came back for this request.
    heard: bool,
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
            busy: None,
            full: false,
            calls: 0,
            starts: 0,
            published: Status::default(),
        }
    }

    pub fn run(mut self) {
        while let Some(requests) = self.shared.take() {
            self.queue.extend(requests);
            self.abandoned.reap();
            self.drop_unwanted();
            self.dispatch();
            self.publish();
            let ready = self.wait();
            if ready.stderr
                && let Some(process) = &mut self.process
            {
                process.log_lines();
            }
            if ready.socket {
                self.listen();
            } else if ready.exited {
                self.ended();
            }
            self.check_deadline(ready.overslept);
        }
        self.close();
    }

    /// Ends the worker and everything that waits for it.
    fn close(&mut self) {
        if let Some(process) = self.process.take() {
            self.abandoned.add(process, self.spec.abandon_signal);
        }
        let waiting = self.busy.take().map(|busy| busy.request).into_iter().chain(self.queue.drain(..));
        waiting.for_each(|request| request.answer.fail(CallError::Closed));
        self.tell(State::Closed);
    }

    /// A watch that nobody waits for would go on for ever: its worker is ended.
    fn drop_unwanted(&mut self) {
        self.queue.retain(|request| request.answer.wanted());
        let gone = |busy: &mut Busy| busy.request.answer.watches() && !busy.request.answer.wanted();
        if self.busy.take_if(gone).is_some()
            && let Some(process) = self.process.take()
        {
            self.abandoned.add(process, self.spec.abandon_signal);
        }
    }

    /// Gives the worker its next request, starting one if needed.
    fn dispatch(&mut self) {
        while self.busy.is_none() {
            let now = Instant::now();
            let due = |request: &Request| request.not_before.is_none_or(|time| time <= now);
            let Some(at) = self.queue.iter().position(due) else { return };
            if self.process.is_none() {
                self.full = self.abandoned.count() >= self.spec.max_abandoned;
                if !self.full && self.pause.until().is_some_and(|until| until > now) {
                    return;
                }
            }
            let Some(request) = self.queue.remove(at) else { return };
            match self.ready_process() {
                Ok(process) => {
                    process.send(&request.frame);
                    self.busy = Some(Busy { request, call: None, since: now, heard: false });
                }
                Err(error) => request.answer.fail(error),
            }
        }
    }

    /// The running worker, or a new one.
    fn ready_process(&mut self) -> Result<&mut Process, CallError> {
        if self.process.is_none() {
            let count = self.abandoned.count();
            if self.full {
                return Err(CallError::TooManyAbandoned { count });
            }
            let launch = (self.spec.prepare)().map_err(|reason| CallError::NotReady { reason })?;
            let started = Process::start(&self.spec, &launch);
            let process = started.map_err(|source| {
                let error =
                    CallError::CannotStart { program: self.spec.program.clone(), source: Arc::new(source) };
                self.pause.after_failure(format!("{error}"));
                error
            })?;
            self.starts += 1;
            tracing::debug!(role = self.spec.role, pid = process.pid(), "worker started");
            self.process = Some(process);
        }
        self.process.as_mut().ok_or(CallError::Closed)
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
        if let Err(error) = poll(&mut watched, timespec.as_ref()) {
            // Interrupted: look at everything again.
            tracing::trace!(role = self.spec.role, %error, "poll");
            return Ready::default();
        }
        let [woken, socket, stderr, exited] = places
            .map(|place| place.and_then(|at| watched.get(at)).is_some_and(|fd| !fd.revents().is_empty()));
        let overslept = timeout.is_some_and(|time| begun.elapsed() > time.saturating_add(OVERSLEPT));
        let ready = Ready { socket, stderr, exited, overslept };
        if woken {
            let _ = rustix::io::read(&self.shared.wake, &mut [0; 8]);
        }
        ready
    }

    /// When there is something to do although nothing happens.
    fn next_time(&self) -> Option<Instant> {
        let busy = self.busy.as_ref();
        let deadline = busy.and_then(|busy| busy.since.checked_add(self.deadline_of(busy)?));
        let slow = busy.filter(|busy| !busy.waits()).map(|busy| busy.since + SLOW);
        let slow = slow.filter(|_| !matches!(self.published.state, State::Slow { .. }));
        [deadline, slow, self.next_dispatch(), self.abandoned.next_look()].into_iter().flatten().min()
    }

    /// When the next request can be sent: not before its own time and, if that takes a new worker, not
    /// during the pause. The later of the two counts: waking at the earlier one would spin until then.
    fn next_dispatch(&self) -> Option<Instant> {
        if self.busy.is_some() {
            return None;
        }
        let pause = self.pause.until().filter(|_| self.process.is_none());
        self.queue.iter().filter_map(|request| request.not_before.max(pause)).min()
    }

    fn deadline_of(&self, busy: &Busy) -> Option<Duration> {
        self.spec.deadlines.of(busy.call.as_ref().map(|(_, class)| *class))
    }

    /// Takes what the worker says.
    fn listen(&mut self) {
        let Some(process) = &mut self.process else { return };
        process.flush();
        let ended = match process.read() {
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

    fn hear(&mut self, frame: Frame) -> Result<(), String> {
        let busy = self.busy.as_mut().ok_or("a frame without a request")?;
        busy.heard = true;
        busy.since = Instant::now();
        match frame.kind {
            Kind::Entering => {
                let entering: Entering<'_> = serde_json::from_slice(&frame.payload)
                    .map_err(|error| format!("no name of a call: {error}"))?;
                let name = entering.call.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
                busy.call = Some((name, entering.class));
                self.calls += 1;
            }
            Kind::Left => busy.call = None,
            Kind::Event => busy.request.answer.event(&frame.payload)?,
            Kind::Reply => {
                let busy = self.busy.take().ok_or("a reply without a request")?;
                // Before the answer: who has it finds its calls counted.
                self.publish();
                busy.request.answer.reply(&frame.payload)?;
                self.pause.reset();
            }
            Kind::Request => return Err("a request, which only the parent makes".to_owned()),
        }
        Ok(())
    }

    /// The worker closed its end of the socket.
    fn ended(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        process.log_lines();
        let pid = process.pid();
        let ending = process.ending();
        let in_order = ending.as_ref().is_some_and(|ending| ending.in_order);
        let how = ending.map_or_else(|| "it closed its socket".to_owned(), |ending| ending.how);
        self.abandoned.add(process, self.spec.abandon_signal);
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
                let call = busy.call_name();
                tracing::warn!(role, pid, call, how, "worker died");
                self.pause.after_failure(format!("died in {call}: {how}"));
                self.publish();
                busy.request.answer.fail(CallError::Crashed { call, how });
            }
        }
    }

    /// The worker cannot be trusted any more.
    fn garbage(&mut self, reason: String) {
        let Some(process) = self.process.take() else { return };
        tracing::warn!(
            role = self.spec.role,
            pid = process.pid(),
            reason,
            "worker sent garbage and is given up"
        );
        self.abandoned.add(process, self.spec.abandon_signal);
        let busy = self.busy.take();
        self.pause.after_failure(reason.clone());
        self.publish();
        if let Some(busy) = busy {
            busy.request.answer.fail(CallError::Garbage { reason });
        }
    }

    fn check_deadline(&mut self, overslept: bool) {
        let Some(busy) = &mut self.busy else { return };
        let now = Instant::now();
        if overslept {
            busy.since = now;
            return;
        }
        let Some(after) = self.spec.deadlines.of(busy.call.as_ref().map(|(_, class)| *class)) else { return };
        if now.saturating_duration_since(busy.since) < after {
            return;
        }
        let call = busy.call_name();
        let pid = self.process.as_ref().map(Process::pid);
        tracing::error!(role = self.spec.role, pid, call, ?after, "no progress: worker is given up");
        if let Some(process) = self.process.take() {
            self.abandoned.add(process, self.spec.abandon_signal);
        }
        self.pause.after_failure(format!("no progress in {call} within {after:?}"));
        let busy = self.busy.take();
        self.publish();
        if let Some(busy) = busy {
            busy.request.answer.fail(CallError::Stuck { call, after });
        }
    }

    fn publish(&mut self) {
        let now = Instant::now();
        let state = match (&self.process, &self.busy) {
            (Some(process), Some(busy)) if !busy.waits() && now >= busy.since + SLOW => {
                State::Slow { pid: process.pid(), call: busy.call_name(), since: busy.since }
            }
            (Some(process), _) => State::Running { pid: process.pid() },
            (None, _) if self.full && self.abandoned.count() >= self.spec.max_abandoned => State::Full,
            (None, _) => match self.pause.until().filter(|until| *until > now) {
                Some(until) => State::BackingOff { until, reason: self.pause.reason().to_owned() },
                None => State::Absent,
            },
        };
        // Between two calls of one request only the count changes; it is told with what follows.
        let quiet = state == self.published.state && self.busy.is_some();
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
    /// Also after a panic: nobody waits for an answer that cannot come.
    fn drop(&mut self) {
        self.shared.end();
    }
}

impl Busy {
    fn call_name(&self) -> String {
        self.call.as_ref().map_or_else(|| OWN_WORK.to_owned(), |(name, _)| name.clone())
    }

    fn waits(&self) -> bool {
        matches!(self.call, Some((_, CallClass::Wait)))
    }
}

/// Whether a non-blocking operation should simply be tried when the file is ready again.
fn is_not_now(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Answer;

    /// An answer that somebody waits for.
    struct Wanted;

    impl Answer for Wanted {
        fn event(&mut self, _payload: &[u8]) -> Result<(), String> {
            Ok(())
        }
        fn reply(self: Box<Self>, _payload: &[u8]) -> Result<(), String> {
            Ok(())
        }
        fn fail(self: Box<Self>, _error: CallError) {}
        fn wanted(&self) -> bool {
            true
        }
        fn watches(&self) -> bool {
            true
        }
    }

    /// A supervisor in a pause that ends at `pause`, with one request that is due at `not_before`.
    fn pausing(pause: Instant, not_before: Instant) -> Supervisor {
        let mut supervisor = Supervisor::new(Spec::new("test"), Arc::new(Shared::new().unwrap()));
        supervisor.pause.end_at(pause);
        supervisor.queue.push_back(Request {
            frame: Vec::new(),
            not_before: Some(not_before),
            resent: false,
            answer: Box::new(Wanted),
        });
        supervisor
    }

    #[test]
    fn delayed_request_after_the_pause_wakes_the_supervisor_at_its_own_time() {
        let (past, later) = (Instant::now(), Instant::now() + Duration::from_secs(30));
        assert_eq!(pausing(past, later).next_time(), Some(later));
    }

    #[test]
    fn request_that_is_due_in_a_pause_wakes_the_supervisor_at_the_end_of_the_pause() {
        let (past, later) = (Instant::now(), Instant::now() + Duration::from_secs(30));
        assert_eq!(pausing(later, past).next_time(), Some(later));
    }
}
