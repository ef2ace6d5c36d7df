//! Workers that are to go. Each was sent a signal that ends it, and nobody waits for it: one that sits
//! in the driver goes when the driver lets it.

use std::os::fd::OwnedFd;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;

use super::process::Process;

/// How long a worker may take to go before it counts as one that hangs.
const GRACE: Duration = Duration::from_millis(100);

/// How often to look after a process that gives no handle to wait on (kernels before 5.3).
const LOOK: Duration = Duration::from_secs(1);

pub(super) struct Abandoned {
    role: &'static str,
    /// What ends a process. Only a test has another one, to stand in for what not even SIGKILL ends.
    signal: Signal,
    processes: Vec<Leaving>,
}

struct Leaving {
    child: Child,
    pidfd: Option<OwnedFd>,
    since: Instant,
}

impl Abandoned {
    pub fn new(role: &'static str) -> Abandoned {
        Abandoned { role, signal: Signal::KILL, processes: Vec::new() }
    }

    #[cfg(test)]
    pub fn without_effect(role: &'static str) -> Abandoned {
        Abandoned { signal: Signal::CONT, ..Abandoned::new(role) }
    }

    /// Ends `process` with all that it started, and keeps it until it has gone.
    pub fn add(&mut self, process: Process) {
        process.signal(self.signal);
        let (child, pidfd) = process.into_parts();
        if let Some(pidfd) = &pidfd {
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

    /// Blocks until one goes.
    pub fn wait(&self) {
        let mut watched: Vec<_> = self.pidfds().map(|pidfd| PollFd::new(pidfd, PollFlags::IN)).collect();
        let timeout = self.next_look().and_then(|_| Timespec::try_from(LOOK).ok());
        // An error or an interruption only means that it is looked at once more.
        let _ = poll(&mut watched, timeout.as_ref());
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
