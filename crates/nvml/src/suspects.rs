//! GPUs whose last call hung or crashed. They are left out of the next questions, so that the others are
//! answered and no more workers are lost on them, and asked again now and then. Pure: time is an argument.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gpu_model::GpuFailure;
use worker::CallError;

use crate::Code;

/// Longest pause before a suspect is asked again, in first pauses.
const LONGEST: u32 = 64;

/// What a question touches of a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Touch {
    /// The GPU itself.
    Gpu,
    /// What it is asked for labels alone: a hang says nothing about questions without which no GPU is served.
    Details,
    /// How it is wired to others, too: a hang may be the other one's fault, so it says nothing about
    /// questions that touch the GPU alone.
    Wiring,
}

impl Touch {
    /// Whether a question that touches this touches that too.
    fn includes(self, other: Touch) -> bool {
        self == other || other == Touch::Gpu
    }
}

/// The GPU whose call it was that failed like this, if it was one GPU's.
pub(crate) fn blame(error: &CallError) -> Option<GpuFailure> {
    let (call, index, code) = match error {
        CallError::Stuck { call, subject: Some(index), .. } => (call, index, Code::NoReturn),
        CallError::Crashed { call, subject: Some(index), .. } => (call, index, Code::Crash),
        _ => return None,
    };
    Some(GpuFailure { index: *index, call: call.clone(), code: code.into() })
}

/// The memory of them.
#[derive(Debug)]
pub(crate) struct Suspects {
    /// Pause after the first failure in a row; it doubles.
    first: Duration,
    known: BTreeMap<(Touch, u32), Suspect>,
}

#[derive(Debug)]
struct Suspect {
    failure: GpuFailure,
    pause: Duration,
    /// Not to be asked earlier.
    again: Instant,
}

impl Suspects {
    /// A pause as long as the deadline of a call means that half of the time is spent on one that hangs.
    pub fn new(first: Duration) -> Suspects {
        Suspects { first, known: BTreeMap::new() }
    }

    /// A GPU did not survive a question.
    pub fn blame(&mut self, touch: Touch, failure: GpuFailure, now: Instant) {
        let key = (touch, failure.index);
        let longest = self.longest();
        let pause = self.known.get(&key).map_or(self.first, |old| old.pause.saturating_mul(2).min(longest));
        let again = now.checked_add(pause).unwrap_or(now);
        self.known.insert(key, Suspect { failure, pause, again });
    }

    /// Whether a GPU is one of them, its pause over or not.
    pub fn knows(&self, touch: Touch, index: u32) -> bool {
        self.known.contains_key(&(touch, index))
    }

    /// Whom to leave out now: with `retry` all but one whose pause is over, so that its hang costs none of
    /// the others their turn; without it all.
    pub fn excused(&self, touch: Touch, now: Instant, retry: bool) -> Vec<GpuFailure> {
        let retried = self.due(touch, now).filter(|_| retry);
        let mut excused = BTreeMap::new();
        for ((_, index), suspect) in self.suspects(touch).filter(|((_, index), _)| Some(*index) != retried) {
            excused.entry(*index).or_insert_with(|| suspect.failure.clone());
        }
        excused.into_values().collect()
    }

    /// Whether there is one whose pause is over.
    pub fn is_due(&self, touch: Touch, now: Instant) -> bool {
        self.due(touch, now).is_some()
    }

    /// The one whose pause has been over for longest.
    fn due(&self, touch: Touch, now: Instant) -> Option<u32> {
        let due = self.suspects(touch).filter(|(_, suspect)| suspect.again <= now);
        due.min_by_key(|(_, suspect)| suspect.again).map(|((_, index), _)| *index)
    }

    /// Those that concern a question.
    fn suspects(&self, touch: Touch) -> impl Iterator<Item = (&(Touch, u32), &Suspect)> {
        self.known.iter().filter(move |((own, _), _)| touch.includes(*own))
    }

    /// All of them, each with the time for which to leave it out; without `retry` there is no end to it.
    pub fn all(&self, now: Instant, retry: bool) -> Vec<(GpuFailure, Option<Duration>)> {
        let left = |suspect: &Suspect| retry.then(|| suspect.again.saturating_duration_since(now));
        self.known.values().map(|suspect| (suspect.failure.clone(), left(suspect))).collect()
    }

    /// A question was answered about all but the `excused`.
    pub fn answered(&mut self, touch: Touch, excused: &[GpuFailure]) {
        let is_excused = |index: u32| excused.iter().any(|failure| failure.index == index);
        self.known.retain(|(own, index), _| !touch.includes(*own) || is_excused(*index));
    }

    /// Something stood for so long that asked each of them when its pause was over.
    pub fn survived(&mut self, stood: Duration) {
        if stood > self.longest() {
            self.forget_all();
        }
    }

    fn longest(&self) -> Duration {
        self.first.saturating_mul(LONGEST)
    }

    /// The driver is another one.
    pub fn forget_all(&mut self) {
        self.known.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn failure(index: u32) -> GpuFailure {
        GpuFailure { index, call: "nvmlDeviceGetName".into(), code: gpu_model::failure::NO_RETURN }
    }

    fn excused(suspects: &Suspects, touch: Touch, now: Instant) -> Vec<u32> {
        suspects.excused(touch, now, true).iter().map(|failure| failure.index).collect()
    }

    #[test]
    fn suspect_is_asked_again_after_a_pause_that_doubles_until_it_answers() {
        let (mut suspects, start) = (Suspects::new(SECOND), Instant::now());
        suspects.blame(Touch::Gpu, failure(3), start);
        assert_eq!(excused(&suspects, Touch::Gpu, start), [3]);
        assert!(excused(&suspects, Touch::Gpu, start + SECOND).is_empty());
        suspects.blame(Touch::Gpu, failure(3), start + SECOND);
        assert_eq!(excused(&suspects, Touch::Gpu, start + 2 * SECOND), [3]);
        assert!(excused(&suspects, Touch::Gpu, start + 3 * SECOND).is_empty());
        suspects.answered(Touch::Gpu, &[]);
        suspects.blame(Touch::Gpu, failure(3), start + 9 * SECOND);
        assert!(excused(&suspects, Touch::Gpu, start + 10 * SECOND).is_empty());
    }

    #[test]
    fn suspect_that_must_not_be_retried_is_left_out_beyond_its_pause() {
        let (mut suspects, start) = (Suspects::new(SECOND), Instant::now());
        suspects.blame(Touch::Gpu, failure(3), start);
        assert_eq!(suspects.all(start, true), [(failure(3), Some(SECOND))]);
        assert_eq!(suspects.all(start + 9 * SECOND, true), [(failure(3), Some(Duration::ZERO))]);
        assert_eq!(suspects.all(start + 9 * SECOND, false), [(failure(3), None)]);
    }

    #[test]
    fn what_stands_for_longer_than_every_pause_ends_all_suspicion() {
        let (mut suspects, start) = (Suspects::new(SECOND), Instant::now());
        suspects.blame(Touch::Gpu, failure(3), start);
        suspects.survived(LONGEST * SECOND);
        assert!(suspects.knows(Touch::Gpu, 3));
        suspects.survived((LONGEST + 1) * SECOND);
        assert!(!suspects.knows(Touch::Gpu, 3));
    }

    #[test]
    fn pause_is_bounded() {
        let (mut suspects, start) = (Suspects::new(SECOND), Instant::now());
        (0..100).for_each(|_| suspects.blame(Touch::Gpu, failure(0), start));
        assert!(excused(&suspects, Touch::Gpu, start + LONGEST * SECOND).is_empty());
    }

    #[test]
    fn of_several_suspects_one_question_asks_one() {
        let (mut suspects, start) = (Suspects::new(SECOND), Instant::now());
        (0..3).for_each(|index| suspects.blame(Touch::Gpu, failure(index), start));
        assert_eq!(excused(&suspects, Touch::Gpu, start + SECOND).len(), 2);
    }

    #[test]
    fn suspects_that_answer_make_way_for_the_next() {
        let (mut suspects, start) = (Suspects::new(SECOND), Instant::now());
        (0..3).for_each(|index| suspects.blame(Touch::Gpu, failure(index), start));
        for left in [2, 1, 0] {
            assert!(suspects.is_due(Touch::Gpu, start + SECOND));
            let skip = suspects.excused(Touch::Gpu, start + SECOND, true);
            suspects.answered(Touch::Gpu, &skip);
            assert_eq!(suspects.known.len(), left);
        }
        assert!(!suspects.is_due(Touch::Gpu, start + SECOND));
    }

    #[test]
    fn nobody_is_asked_again_by_a_question_that_must_not_retry() {
        let (mut suspects, start) = (Suspects::new(SECOND), Instant::now());
        suspects.blame(Touch::Gpu, failure(3), start);
        assert_eq!(suspects.excused(Touch::Gpu, start + 100 * SECOND, false).len(), 1);
    }

    #[test]
    fn hang_of_details_excuses_from_details_alone() {
        let (mut suspects, start) = (Suspects::new(SECOND), Instant::now());
        suspects.blame(Touch::Details, failure(1), start);
        suspects.blame(Touch::Gpu, failure(2), start);
        assert_eq!(excused(&suspects, Touch::Gpu, start), [2]);
        assert_eq!(excused(&suspects, Touch::Details, start), [1, 2]);
        assert_eq!(excused(&suspects, Touch::Wiring, start), [2]);
        suspects.answered(Touch::Wiring, &[]);
        assert_eq!(excused(&suspects, Touch::Details, start), [1]);
    }

    #[test]
    fn hang_of_the_wiring_excuses_from_the_wiring_alone() {
        let (mut suspects, start) = (Suspects::new(SECOND), Instant::now());
        suspects.blame(Touch::Wiring, failure(1), start);
        suspects.blame(Touch::Gpu, failure(2), start);
        assert_eq!(excused(&suspects, Touch::Gpu, start), [2]);
        assert_eq!(excused(&suspects, Touch::Wiring, start), [1, 2]);
        suspects.answered(Touch::Gpu, &[]);
        assert_eq!(excused(&suspects, Touch::Wiring, start), [1]);
    }
}
