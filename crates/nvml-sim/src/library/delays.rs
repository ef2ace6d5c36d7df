//! The delays of one process: the draws of each function are counted, so that a process that makes the same calls takes
//! the same times. It does not wait itself.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::latency::{Distribution, Latency};

/// Draws so far, by function.
#[derive(Debug, Default)]
pub struct Delays(Mutex<BTreeMap<&'static str, u64>>);

impl Delays {
    /// How long the next call of a function takes, on a GPU (by UUID) or on none.
    pub fn next(&self, latency: &Latency, function: &'static str, gpu: Option<&str>) -> Duration {
        let delay = latency.of(function, gpu);
        if let Distribution::Fixed(delay) = delay {
            return delay.0;
        }
        let mut drawn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = drawn.entry(function).or_default();
        *number = number.wrapping_add(1);
        // Functions of one distribution do not move in step.
        let own = function.bytes().fold(latency.seed, |seed, byte| seed.rotate_left(8) ^ u64::from(byte));
        delay.draw(own, *number)
    }
}
