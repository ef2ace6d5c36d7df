//! Workers that are to go. Each was sent a signal that ends it, and nobody waits for it: one that sits
//! in the driver goes when the driver lets it.

use std::os::fd::OwnedFd;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal};

use super::process::Process;

/// How long a worker may take to go before it counts as one that hangs.
const GRACE: Duration = Duration::from_millis(100);

/// How often to look after a process that gives no handle to wait on (kernels before 5.3).
const LOOK: Duration = Duration::from_secs(1);

pub(super) struct Abandoned {
    role: &'static str,
    processes: Vec<Leaving>,
}

struct Leaving {
    child: Child,
    pidfd: Option<OwnedFd>,
    since: Instant,
}

impl Abandoned {
    pub fn new(role: &'static str) -> Abandoned {
        Abandoned { role, processes: Vec::new() }
    }

    /// Ends `process` and keeps it until it has gone.
    pub fn add(&mut self, process: Process, signal: Signal) {
        let (mut child, pidfd) = process.into_parts();
        // One that is reaped already needs no signal, and its id may be another process's by now.
        if let Ok(None) = child.try_wait()
            && let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw)
        {
            let _ = rustix::process::kill_process(pid, signal);
        }
        if let Some(pidfd) = &pidfd
            && signal == Signal::KILL
        {
            wait_for(pidfd, GRACE);
        }
        self.processes.push(Leaving { child, pidfd, since: Instant::now() });
        self.reap();
    }

    /// Forgets those that have gone.
    pub fn reap(&mut self) {
        let role = self.role;
        self.processes.retain_mut(|leaving| {
            let gone = !matches!(leaving.child.try_wait(), Ok(None));
            if gone && leaving.since.elapsed() > GRACE * 2 {
                let (pid, after) = (leaving.child.id(), leaving.since.elapsed());
                tracing::info!(role, pid, ?after, "abandoned worker has gone");
            }
            !gone
        });
    }

    pub fn count(&self) -> usize {
        self.processes.len()
    }

    /// What becomes readable when one goes.
    pub fn pidfds(&self) -> impl Iterator<Item = &OwnedFd> {
        self.processes.iter().filter_map(|leaving| leaving.pidfd.as_ref())
    }

    /// When to look although nothing becomes readable.
    pub fn next_look(&self) -> Option<Instant> {
        self.processes.iter().any(|leaving| leaving.pidfd.is_none()).then(|| Instant::now() + LOOK)
    }
}

/// Waits until the process has ended, for at most `time`.
pub(super) fn wait_for(pidfd: &OwnedFd, time: Duration) {
    let timeout = Timespec::try_from(time).ok();
    // An error or an interruption only means that it is looked at later.
    let _ = poll(&mut [PollFd::new(pidfd, PollFlags::IN)], timeout.as_ref());
}
