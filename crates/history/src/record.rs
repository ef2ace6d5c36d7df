//! Looks at the node on a thread of its own while a test does its work.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::look::{Look, Seen};
use crate::truth::Truth;

/// Runs `body`, and `look` beside it: once at the beginning, every `interval`, and once at the end.
///
/// # Panics
/// When `look` does.
pub fn record<T>(
    truth: &Truth,
    interval: Duration,
    mut look: impl FnMut() -> Seen + Send,
    body: impl FnOnce() -> T,
) -> (T, Vec<Look>) {
    thread::scope(|scope| {
        let (running, ended) = mpsc::channel::<()>();
        let begin = Instant::now();
        let recorder = scope.spawn(move || {
            let mut looks = Vec::new();
            loop {
                let is_last = ended.recv_timeout(if looks.is_empty() { Duration::ZERO } else { interval })
                    == Err(RecvTimeoutError::Disconnected);
                looks.push(one(truth, begin.elapsed(), &mut look));
                if is_last {
                    return looks;
                }
            }
        });
        // Dropped also when the body panics: the scope waits for the thread.
        let result = {
            let _running = running;
            body()
        };
        match recorder.join() {
            Ok(looks) => (result, looks),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn one(truth: &Truth, at: Duration, look: &mut impl FnMut() -> Seen) -> Look {
    let before = truth.broken();
    let seen = look();
    let after = truth.broken();
    let broken = before.into_iter().filter(|(device, number)| after.get(device) == Some(number)).collect();
    Look { at, seen, broken, ending: truth.take_ending() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_that_broke_during_a_look_is_broken_from_the_next_one_on() {
        let truth = Truth::default();
        let (ask, asked) = mpsc::channel();
        let telling = truth.clone();
        let look = move || {
            telling.breaks("x");
            let _ = ask.send(());
            Seen::default()
        };
        // Each look breaks it anew: no look sees one break from its begin to its end.
        let ((), looks) = record(&truth, Duration::from_millis(1), look, || {
            asked.recv().unwrap();
            asked.recv().unwrap();
        });
        assert!(looks.len() >= 2);
        assert!(looks.iter().all(|look| look.broken.is_empty()), "{looks:?}");
        let ((), looks) = record(&truth, Duration::from_hours(1), Seen::default, || ());
        // The first and the last, or one that is both.
        assert!((1..=2).contains(&looks.len()), "{looks:?}");
        assert!(looks.iter().all(|look| look.broken.contains_key("x")), "{looks:?}");
    }
}
