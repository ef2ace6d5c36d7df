//! The state that everything outside the observer reads: one value, replaced as a whole.
//!
//! A generation counts the device lists that the kubelet may see; what does not change that list (topology,
//! the CDI spec) is published under the same generation. Pure: no driver, no files, no wire types.

use std::sync::Arc;

use gpu_model::{GpuUuid, Health, ResourceName};
use tokio::sync::watch;

use crate::affinity::Affinity;
use crate::health::is_schedulable;

/// One look at everything, as a subscriber gets it.
pub type Snapshot = Arc<State>;

/// What the plugin offers now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The resource under which the devices are offered.
    pub resource: ResourceName,
    /// Counts device lists; 0 until the driver has answered once.
    pub generation: u64,
    /// Every GPU that was ever listed, in the order of their first listing: by index at the start, and
    /// newcomers behind.
    pub devices: Vec<Device>,
    /// Pairwise worth of `devices`, by position; empty until the topology is known.
    pub affinity: Affinity,
    /// Whether a runtime can resolve the devices' CDI names.
    pub spec: SpecState,
}

/// One GPU towards the kubelet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The id that the kubelet knows.
    pub gpu: GpuUuid,
    /// NUMA node of the CPUs next to it.
    pub numa_node: Option<u32>,
    /// What is known of its health.
    pub health: Health,
    /// What a container would need of it and the host lacks, such as its device node.
    pub lacking: Option<String>,
}

/// The CDI spec on disk, as far as `Allocate` has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpecState {
    /// It was not written yet.
    Pending,
    /// It is written and names all devices.
    Written,
    /// It was written, and now it cannot be kept current.
    Stale {
        /// Why.
        reason: String,
    },
}

impl State {
    /// The state before the driver has answered.
    pub fn new(resource: ResourceName) -> Self {
        Self {
            resource,
            generation: 0,
            devices: Vec::new(),
            affinity: Affinity::default(),
            spec: SpecState::Pending,
        }
    }

    /// Position of the device with this id.
    pub fn position(&self, id: &str) -> Option<usize> {
        self.devices.iter().position(|device| device.gpu.as_str() == id)
    }

    /// Whether there is something to register: a device list, and a spec that was written once. A spec that went
    /// stale later stops allocations, not the registration, which running pods live by.
    pub fn is_servable(&self) -> bool {
        !self.devices.is_empty() && self.spec != SpecState::Pending
    }
}

impl Device {
    /// Whether the kubelet may place work on it.
    pub fn is_schedulable(&self) -> bool {
        is_schedulable(&self.health) && self.lacking.is_none()
    }

    /// What is wrong with it, if anything is.
    pub fn complaint(&self) -> Option<String> {
        match (&self.health, &self.lacking) {
            (Health::Healthy, None) => None,
            (Health::Healthy, Some(lacking)) => Some(format!("{} cannot be handed out: {lacking}", self.gpu)),
            (health, _) => Some(format!("{} is {health}", self.gpu)),
        }
    }
}

/// The writing end; the observer holds the only one.
#[derive(Debug)]
pub struct Publisher {
    state: watch::Sender<Snapshot>,
}

impl Publisher {
    /// A publisher of the state before the driver has answered, and the first reader.
    pub fn new(resource: ResourceName) -> (Self, watch::Receiver<Snapshot>) {
        let (state, reader) = watch::channel(Arc::new(State::new(resource)));
        (Self { state }, reader)
    }

    /// The state that readers see.
    pub fn current(&self) -> Snapshot {
        self.state.borrow().clone()
    }

    /// Publishes `change` of the current state, under a new generation if the device list changed.
    /// Gives the generation if it is new.
    pub fn publish(&self, change: impl FnOnce(&mut State)) -> Option<u64> {
        let mut next = State::clone(&self.state.borrow());
        change(&mut next);
        let is_new = next.devices != self.state.borrow().devices;
        if is_new {
            next.generation += 1;
        }
        let generation = next.generation;
        // Nobody is woken for nothing.
        self.state.send_if_modified(|state| {
            let is_change = **state != next;
            if is_change {
                *state = Arc::new(next);
            }
            is_change
        });
        is_new.then_some(generation)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use gpu_model::HealthReason;

    use super::*;

    /// The id of the nth device of [`node`].
    pub(crate) fn gpu(n: usize) -> GpuUuid {
        format!("GPU-00000000-0000-0000-0000-0000000000{n:02x}").parse().unwrap()
    }

    /// A node of `count` healthy GPUs whose spec is written.
    pub(crate) fn node(count: usize) -> State {
        let device =
            |n| Device { gpu: gpu(n), numa_node: Some(n as u32 / 4), health: Health::Healthy, lacking: None };
        let mut state = State::new("nvidia.com/gpu".parse().unwrap());
        state.devices = (0..count).map(device).collect();
        state.spec = SpecState::Written;
        state
    }

    #[test]
    fn generation_counts_device_lists_and_nothing_else() {
        let (publisher, reader) = Publisher::new("nvidia.com/gpu".parse().unwrap());
        assert_eq!(publisher.publish(|state| state.devices = node(2).devices), Some(1));
        assert_eq!(publisher.publish(|state| state.spec = SpecState::Written), None);
        let sick = Health::Unhealthy { reason: HealthReason::Lost };
        assert_eq!(publisher.publish(|state| state.devices[1].health = sick), Some(2));
        assert_eq!(reader.borrow().generation, 2);
        assert!(reader.borrow().is_servable());
    }
}
