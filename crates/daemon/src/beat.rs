//! A common beat for whatever looks at files now and then. Each wake-up costs an idle node more than the look itself,
//! so looks of several periods fall on the same moments where they can, and a tick that nobody waits for wakes nobody.
//!
//! The kernel keeps the time: the executor's own timer wakes up three or four times on the way to a tick some seconds off.

use std::os::fd::OwnedFd;
use std::sync::LazyLock;
use std::time::Duration;

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

/// What all beats are counted from, on the kernel's monotonic clock.
static START: LazyLock<Duration> = LazyLock::new(now);

/// Ticks at the multiples of a period.
#[derive(Debug)]
pub struct Beat {
    period: Duration,
    /// None where the system has none to give; the executor keeps the time then.
    timer: Option<AsyncFd<OwnedFd>>,
    /// The tick that was waited for and has not come, on the kernel's clock.
    due: Option<Duration>,
}

/// Ticks at the multiples of `period`, which must not be zero, since the process's first beat. A tick is at most one period
/// away; ticks that pass while nobody waits for one are left out. Must be made inside a runtime.
pub fn beat(period: Duration) -> Beat {
    Beat { period, timer: timer(), due: None }
}

impl Beat {
    /// The time between two ticks.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Waits for the next tick. Nothing is lost when the future is dropped.
    pub async fn tick(&mut self) {
        let due = match self.due {
            Some(due) => due,
            None => self.arm(),
        };
        match &self.timer {
            Some(timer) => expired(timer).await,
            None => sleep(due.saturating_sub(now())).await,
        }
        self.due = None;
    }

    fn arm(&mut self) -> Duration {
        let start = *START;
        let due = start + next(now().saturating_sub(start), self.period);
        let is_set = |timer: &AsyncFd<OwnedFd>| {
            let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
            let Ok(it_value) = Timespec::try_from(due) else { return false };
            let once = Itimerspec { it_interval: zero, it_value };
            timerfd_settime(timer, TimerfdTimerFlags::ABSTIME, &once).is_ok()
        };
        self.timer = self.timer.take().filter(is_set);
        self.due = Some(due);
        due
    }
}

#[expect(deprecated, reason = "it cannot know that the descriptor stays open, as an OwnedFd's does")]
fn timer() -> Option<AsyncFd<OwnedFd>> {
    let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
    AsyncFd::new(timerfd_create(TimerfdClockId::Monotonic, flags).ok()?).ok()
}

async fn expired(timer: &AsyncFd<OwnedFd>) {
    loop {
        let Ok(mut ready) = timer.readable().await else {
            // The executor is ending.
            return std::future::pending().await;
        };
        if ready.try_io(|timer| Ok(rustix::io::read(timer, &mut [0; 8])?)).is_ok() {
            return;
        }
    }
}

fn now() -> Duration {
    // It does not go below zero.
    Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default()
}

/// The first multiple of `period` after `since`.
fn next(since: Duration, period: Duration) -> Duration {
    let period = period.as_nanos().max(1);
    let next = (since.as_nanos() / period + 1) * period;
    Duration::from_nanos(u64::try_from(next).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::{Context, Poll};

    use super::*;

    #[tokio::test]
    async fn ticks_come_at_multiples_of_the_same_start_and_not_before() {
        let kernels = beat(Duration::from_millis(3));
        assert!(kernels.timer.is_some());
        let executors = Beat { timer: None, ..beat(Duration::from_millis(2)) };
        let start = *START;
        for mut beat in [kernels, executors] {
            for _ in 0..3 {
                let before = now() - start;
                beat.tick().await;
                let passed = now() - start;
                assert!(passed >= next(before, beat.period()), "{passed:?} after {before:?}");
            }
        }
    }

    #[tokio::test]
    async fn tick_that_was_given_up_comes_to_who_waits_next() {
        let mut beat = beat(Duration::from_millis(1));
        let once = |context: &mut Context<'_>| Poll::Ready(pin!(beat.tick()).poll(context).is_ready());
        assert!(!poll_fn(once).await);
        let due = beat.due.unwrap();
        while now() < due {
            tokio::task::yield_now().await;
        }
        beat.tick().await;
        assert_eq!(beat.due, None);
    }

    #[test]
    fn next_tick_is_the_first_multiple_after_now() {
        let ms = Duration::from_millis;
        assert_eq!([0, 1, 5, 6].map(|since| next(ms(since), ms(3)).as_millis()), [3, 3, 6, 9]);
    }
}
