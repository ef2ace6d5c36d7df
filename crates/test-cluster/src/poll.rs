//! Waiting for a condition of another process: polled, with a deadline that names the last state seen.

use std::fmt::Display;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(100);

/// What one look at a condition found.
#[derive(Debug)]
pub enum Verdict<T> {
    /// The condition holds.
    Done(T),
    /// It does not hold yet; the text says what was seen instead.
    Waiting(String),
}

/// Looks at a condition until it holds.
///
/// # Errors
/// When `look` fails (which ends the wait at once), or when the deadline passes: the error then says what
/// was waited for and the last state seen.
pub fn until<T>(
    what: impl Display,
    deadline: Duration,
    mut look: impl FnMut() -> Result<Verdict<T>>,
) -> Result<T> {
    let began = Instant::now();
    loop {
        match look()? {
            Verdict::Done(value) => return Ok(value),
            Verdict::Waiting(seen) if began.elapsed() >= deadline => {
                bail!("{what}: not within {} s; last seen: {seen}", deadline.as_secs())
            }
            Verdict::Waiting(_) => pause(INTERVAL),
        }
    }
}

/// Lets other processes work for a moment.
pub(crate) fn pause(time: Duration) {
    #[expect(clippy::disallowed_methods, reason = "the pause between two looks at another process' state")]
    thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn until_with_a_condition_that_comes_returns_its_value() {
        let mut looks = 0;
        let got = until("three looks", Duration::from_secs(60), || {
            looks += 1;
            Ok(if looks == 3 { Verdict::Done(looks) } else { Verdict::Waiting(format!("look {looks}")) })
        });
        assert_eq!(got.unwrap(), 3);
    }

    #[test]
    fn until_past_its_deadline_names_the_last_state() {
        let got = until::<()>("a miracle", Duration::ZERO, || Ok(Verdict::Waiting("nothing yet".into())));
        assert_eq!(got.unwrap_err().to_string(), "a miracle: not within 0 s; last seen: nothing yet");
    }
}
