//! Waiting for a condition instead of for a time. It knows nothing of what is waited for.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

/// Pause between two looks. Short: a look at a file or a socket is cheap, and tests wait a lot.
const PAUSE: Duration = Duration::from_millis(5);

/// A condition that did not come in time. Its debug form is its text, so that `unwrap` is readable.
pub struct NotInTime {
    what: String,
    deadline: Duration,
    last: String,
}

/// Looks until `probe` succeeds.
///
/// # Errors
/// When it has not by the deadline: what was waited for, and the last state that `probe` told.
pub fn eventually<T>(
    what: &str,
    deadline: Duration,
    mut probe: impl FnMut() -> Result<T, String>,
) -> Result<T, NotInTime> {
    let begin = Instant::now();
    loop {
        match probe() {
            Ok(found) => return Ok(found),
            Err(last) if begin.elapsed() >= deadline => {
                return Err(NotInTime { what: what.to_owned(), deadline, last });
            }
            // May return early, which only means one more look.
            Err(_) => thread::park_timeout(PAUSE),
        }
    }
}

impl fmt::Display for NotInTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not within {:?}: {}; last state: {}", self.deadline, self.what, self.last)
    }
}

impl fmt::Debug for NotInTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for NotInTime {}
