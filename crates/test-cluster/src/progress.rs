//! Lines for the person who waits: each step with the time since the start, long steps again and again.

use std::io::{self, Write};
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::poll;

/// A step that takes longer says so at this interval.
pub(crate) const REMINDER: Duration = Duration::from_secs(15);

/// Where progress is told, and since when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    began: Instant,
}

impl Progress {
    pub(crate) fn start() -> Self {
        Self { began: Instant::now() }
    }

    /// Prints one line to standard error. A closed standard error is no reason to stop.
    pub(crate) fn say(&self, text: impl AsRef<str>) {
        let _ = writeln!(io::stderr(), "[{:>4} s] {}", self.began.elapsed().as_secs(), text.as_ref());
    }

    /// Waits for a child, reminding of what it does. True when it ended well.
    pub(crate) fn wait_for(&self, what: &str, child: &mut Child) -> Result<bool> {
        let mut reminded = Instant::now();
        loop {
            if let Some(status) = child.try_wait().with_context(|| format!("wait for {what}"))? {
                return Ok(status.success());
            }
            if reminded.elapsed() >= REMINDER {
                reminded = Instant::now();
                self.say(format!("still busy: {what}"));
            }
            poll::pause(Duration::from_millis(100));
        }
    }
}
