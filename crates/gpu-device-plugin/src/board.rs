//! The states of all resources, where the observer publishes and everything else reads.
//!
//! A resource that was offered once keeps its place for the process's life: one that is offered no more has an empty
//! list, and may come back. Pure but for the channels.

use std::collections::BTreeMap;
use std::sync::Arc;

use gpu_model::ResourceName;
use tokio::sync::{mpsc, watch};

use crate::state::{Snapshot, State};

/// A resource that is offered for the first time.
#[derive(Debug)]
pub struct Opened {
    /// Its name.
    pub resource: ResourceName,
    /// What it offers, from now on.
    pub state: watch::Receiver<Snapshot>,
}

/// The writing end; the observer holds the only one.
#[derive(Debug)]
pub struct Board {
    states: BTreeMap<ResourceName, watch::Sender<Snapshot>>,
    opened: mpsc::UnboundedSender<Vec<Opened>>,
}

impl Board {
    /// An empty board, and where new resources are told: those of one publication together.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Vec<Opened>>) {
        let (opened, newcomers) = mpsc::unbounded_channel();
        (Self { states: BTreeMap::new(), opened }, newcomers)
    }

    /// What every resource offers, those that are withdrawn included.
    pub fn current(&self) -> Vec<Snapshot> {
        self.states.values().map(|state| state.borrow().clone()).collect()
    }

    /// Publishes what is offered now; each state gets the generation that is due. A resource that is not among `states`
    /// offers nothing any more.
    pub fn publish(&mut self, states: Vec<State>) {
        let mut states: BTreeMap<ResourceName, State> =
            states.into_iter().map(|state| (state.resource.clone(), state)).collect();
        for (resource, sender) in &self.states {
            let next = states.remove(resource).unwrap_or_else(|| {
                let last = State::clone(&sender.borrow());
                State { devices: Vec::new(), retired: Vec::new(), ..last }
            });
            replace(sender, next);
        }
        let mut opened = Vec::new();
        for (resource, state) in states {
            let (sender, reader) = watch::channel(Arc::new(State::new(resource.clone())));
            replace(&sender, state);
            opened.push(Opened { resource: resource.clone(), state: reader });
            self.states.insert(resource, sender);
        }
        if !opened.is_empty() {
            // Without a reader the daemon is about to end.
            let _ = self.opened.send(opened);
        }
    }
}

/// Replaces the state, under a new generation if the device list changed. Nobody is woken for nothing.
fn replace(sender: &watch::Sender<Snapshot>, mut next: State) {
    sender.send_if_modified(|state| {
        let is_other_list = next.devices != state.devices || next.retired != state.retired;
        next.generation = state.generation + u64::from(is_other_list);
        let is_change = **state != next;
        if is_change {
            *state = Arc::new(next);
        }
        is_change
    });
}

#[cfg(test)]
pub(crate) mod tests {
    use gpu_model::{Health, HealthReason};

    use super::*;
    use crate::state::SpecState;
    use crate::state::tests::node;

    /// A board that offers `state`, and its reader.
    pub(crate) fn offering(state: State) -> (Board, watch::Receiver<Snapshot>) {
        let (mut board, mut opened) = Board::new();
        board.publish(vec![state]);
        (board, opened.try_recv().unwrap().remove(0).state)
    }

    #[test]
    fn generation_counts_device_lists_and_nothing_else() {
        let mut state = State { spec: SpecState::Pending, ..node(2) };
        let (mut board, mut reader) = offering(state.clone());
        assert_eq!(reader.borrow_and_update().generation, 1);
        state.spec = SpecState::Ready;
        board.publish(vec![state.clone()]);
        assert_eq!(reader.borrow_and_update().generation, 1);
        state.devices[1].health = Health::Unhealthy { reason: HealthReason::Lost };
        board.publish(vec![state.clone()]);
        assert!(reader.borrow_and_update().is_servable());
        assert_eq!(reader.borrow().generation, 2);
        board.publish(vec![state]);
        assert!(!reader.has_changed().unwrap());
    }

    #[test]
    fn resource_that_is_offered_no_more_is_empty_and_the_others_are_left_alone() {
        let (mut board, mut opened) = Board::new();
        let named = |name: &str, count| State { resource: name.parse().unwrap(), ..node(count) };
        let (gpu, mig) = (named("nvidia.com/gpu", 2), named("nvidia.com/mig-1g.10gb", 3));
        board.publish(vec![gpu.clone(), mig.clone()]);
        let mut readers = opened.try_recv().unwrap();
        assert_eq!(readers.len(), 2);
        for opened in &mut readers {
            opened.state.mark_unchanged();
        }
        board.publish(vec![gpu.clone()]);
        assert!(!readers[0].state.has_changed().unwrap());
        assert!(readers[1].state.borrow_and_update().is_withdrawn());
        // It comes back under its old reader.
        board.publish(vec![gpu, mig]);
        assert_eq!((readers[1].state.borrow().devices.len(), readers[1].state.borrow().generation), (3, 3));
        assert!(opened.try_recv().is_err());
    }
}
