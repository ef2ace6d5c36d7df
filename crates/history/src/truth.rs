//! What is really so, as the test that makes it so tells it.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a test does to the node; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Truth(Arc<Mutex<Told>>);

#[derive(Debug, Default)]
struct Told {
    breaks: u64,
    broken: BTreeMap<String, u64>,
    /// Being ended now.
    ending: BTreeSet<String>,
    /// Being ended at some time since the last look.
    ended: BTreeSet<String>,
}

impl Truth {
    /// The device cannot be used from now on. Told when that is so: after the fault.
    pub fn breaks(&self, device: &str) {
        let mut told = self.told();
        told.breaks += 1;
        let number = told.breaks;
        told.broken.insert(device.to_owned(), number);
    }

    /// The device may be offered again. Told before the repair begins.
    pub fn mends(&self, device: &str) {
        self.told().broken.remove(device);
    }

    /// All devices may be offered again.
    pub fn mends_all(&self) {
        self.told().broken.clear();
    }

    /// The test ends the pod now: told before.
    pub fn ends(&self, pod: &str) {
        let mut told = self.told();
        told.ending.insert(pod.to_owned());
        told.ended.insert(pod.to_owned());
    }

    /// The pod that the test ended is gone, and another one may have its name.
    pub fn gone(&self, pod: &str) {
        self.told().ending.remove(pod);
    }

    /// The devices that are broken, with the number of the break.
    pub(crate) fn broken(&self) -> BTreeMap<String, u64> {
        self.told().broken.clone()
    }

    /// The pods that were being ended at some time since the last call.
    pub(crate) fn take_ending(&self) -> BTreeSet<String> {
        let mut told = self.told();
        let still = told.ending.clone();
        mem::replace(&mut told.ended, still)
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pod_is_being_ended_until_the_look_after_it_is_gone() {
        let truth = Truth::default();
        let pods = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        truth.ends("a");
        assert_eq!(truth.take_ending(), pods(&["a"]));
        assert_eq!(truth.take_ending(), pods(&["a"]));
        truth.gone("a");
        assert_eq!(truth.take_ending(), pods(&["a"]));
        assert_eq!(truth.take_ending(), pods(&[]));
    }

    #[test]
    fn break_after_a_repair_has_another_number() {
        let truth = Truth::default();
        truth.breaks("x");
        let first = truth.broken();
        truth.mends("x");
        assert!(truth.broken().is_empty());
        truth.breaks("x");
        assert_ne!(truth.broken(), first);
    }
}
