//! Waiting without work: for a change of the state folder, or for time to pass. It knows inotify, not states.

use std::mem::MaybeUninit;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::io::Errno;
use rustix::thread::{current_timer_slack, set_current_timer_slack};

/// How often a waiter looks when inotify is not to be had (all instances of the user in use).
const FALLBACK_PERIOD: Duration = Duration::from_millis(20);
/// A sleeper wakes about so much late even without timer slack; this rest of a delay is spent awake.
const WAKE_LATENCY: Duration = Duration::from_micros(15);

/// A watch on a folder. Changes after `new` are noticed by the next `wait`.
#[derive(Debug)]
pub struct Watch {
    inotify: Option<OwnedFd>,
}

impl Watch {
    /// Starts to watch for files moved into a folder.
    pub fn new(dir: &Path) -> Watch {
        let start = || -> rustix::io::Result<OwnedFd> {
            let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
            inotify::add_watch(&fd, dir, inotify::WatchFlags::MOVED_TO)?;
            Ok(fd)
        };
        Watch { inotify: start().ok() }
    }

    /// Blocks until something changed or `deadline` (none: for ever) passed. May return early.
    pub fn wait(&self, deadline: Option<Instant>) {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let Some(fd) = &self.inotify else {
            pause(left.map_or(FALLBACK_PERIOD, |left| left.min(FALLBACK_PERIOD)));
            return;
        };
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let _ = poll(&mut [PollFd::new(fd, PollFlags::IN)], timeout.as_ref());
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(fd, &mut buffer);
        while events.next().is_ok() {}
    }
}

/// Spends a time span, precisely and with little CPU time: asleep, and awake for the last instant.
pub fn pause(span: Duration) {
    let deadline = Instant::now() + span;
    if span > WAKE_LATENCY {
        // The kernel may let a thread oversleep by its slack, 50 us by default. The client gets its own back.
        let slack = current_timer_slack().ok().and_then(NonZeroU64::new);
        let _ = set_current_timer_slack(NonZeroU64::new(1));
        sleep_until(deadline - WAKE_LATENCY);
        let _ = set_current_timer_slack(slack);
    }
    while Instant::now() < deadline {
        std::hint::spin_loop();
    }
}

/// Sleeps, and goes on sleeping where a signal of the client's wakes the thread.
fn sleep_until(wake: Instant) {
    loop {
        let left = wake.saturating_duration_since(Instant::now());
        let Ok(timeout) = Timespec::try_from(left) else { return };
        match poll(&mut [], Some(&timeout)) {
            Err(Errno::INTR) if !left.is_zero() => {}
            _ => return,
        }
    }
}
