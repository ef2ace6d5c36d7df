//! Signals that end a lease which a person holds.

use anyhow::Context;
use rustix::process::{Pid, Signal as Number, kill_process};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals by which a person or a supervisor ends a process.
#[derive(Debug)]
pub struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Interrupts {
    /// Catches them from now on.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn catch() -> anyhow::Result<Interrupts> {
        let catch = |kind| signal(kind).context("cannot catch signals");
        Ok(Interrupts {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            hang_up: catch(SignalKind::hangup())?,
        })
    }

    /// The number of the next one.
    pub async fn next(&mut self) -> u8 {
        let number = tokio::select! {
            Some(()) = self.interrupt.recv() => Number::INT,
            Some(()) = self.terminate.recv() => Number::TERM,
            Some(()) = self.hang_up.recv() => Number::HUP,
            else => std::future::pending().await,
        };
        u8::try_from(number.as_raw()).unwrap_or(0)
    }

    /// Sends the child what this process got, but for what a terminal sends to both.
    pub fn pass_on(signal: u8, child: Option<u32>) {
        let number = Number::from_named_raw(i32::from(signal)).filter(|number| *number != Number::INT);
        let pid = child.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        if let (Some(number), Some(pid)) = (number, pid) {
            // It may have ended.
            let _ = kill_process(pid, number);
        }
    }
}
