//! What one resource offers, as everything outside the observer reads it: one value, replaced as a whole.
//!
//! A generation counts the device lists that the kubelet may see; what does not change that list (topology,
//! the CDI spec) is published under the same generation. Pure: no driver, no files, no wire types.

use std::collections::HashMap;
use std::sync::Arc;

use gpu_config::SharedPolicy;
use gpu_model::{Health, ResourceName};

use crate::affinity::NodeAffinity;
use crate::device_id::DeviceId;
use crate::host_devices::HostDevices;
use crate::injection::Injection;
use crate::resource_map::Offered;

/// One look at everything, as a subscriber gets it.
pub type Snapshot = Arc<State>;

/// What one resource offers now.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// The resource under which the devices are offered.
    pub resource: ResourceName,
    /// Counts device lists; 0 until the driver has answered once.
    pub generation: u64,
    /// In the order of their GPUs' first listing, and of their index on it. Newcomers stand behind.
    pub devices: Vec<Device>,
    /// Ids that are offered no more and that pods hold: Unhealthy to the kubelet until they are released.
    pub retired: Vec<String>,
    /// How well their GPUs work together; empty until the topology is known.
    pub affinity: Arc<NodeAffinity>,
    /// Whether a runtime can resolve the devices' CDI names.
    pub spec: SpecState,
    /// How requests are met.
    pub terms: Terms,
    /// How a container gets its devices.
    pub injection: Arc<Injection>,
    /// What the host has that an answer can name, as far as it was looked at.
    pub host: Arc<HostDevices>,
}

/// How requests for a resource are met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Whether a container that asks for more than one share is refused.
    pub one_share_at_most: bool,
    /// Which of several shares a container gets.
    pub policy: SharedPolicy,
    /// Which of several MIG devices a container gets, shared or not.
    pub mig_policy: SharedPolicy,
}

/// One GPU or MIG device towards the kubelet, with all its shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// What it is.
    pub offered: Offered,
    /// What is known of its health.
    pub health: Health,
    /// What a container would need of it and the host lacks, such as its device node.
    pub lacking: Option<String>,
}

/// The CDI spec on disk, as far as `Allocate` has to know. Whether it needs one at all, the injection says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpecState {
    /// It was not written yet, and is needed.
    Pending,
    /// It is written and names all devices; or as much of the host is known as is needed without it.
    Ready,
    /// It was, and now it cannot be kept current.
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
            retired: Vec::new(),
            affinity: Arc::default(),
            spec: SpecState::Pending,
            terms: Terms {
                one_share_at_most: false,
                policy: SharedPolicy::Distributed,
                mig_policy: SharedPolicy::Distributed,
            },
            injection: Arc::default(),
            host: Arc::default(),
        }
    }

    /// The device that this id of the kubelet means.
    pub fn device(&self, id: &str) -> Option<&Device> {
        let id = DeviceId::parse(id)?;
        self.devices.iter().find(|device| device.has(id))
    }

    /// Positions of the devices by the text of their unit.
    pub fn positions(&self) -> HashMap<&str, usize> {
        self.devices.iter().enumerate().map(|(at, device)| (device.offered.unit.as_str(), at)).collect()
    }

    /// How many ids the kubelet sees.
    pub fn ids(&self) -> usize {
        self.devices.iter().map(Device::count).sum::<usize>() + self.retired.len()
    }

    /// Whether there is something to register: a device list, and a spec that was written once. A spec that went
    /// stale later stops allocations, not the registration, which running pods live by.
    pub fn is_servable(&self) -> bool {
        !self.is_empty() && self.spec != SpecState::Pending
    }

    /// Whether the kubelet has nothing to know of it.
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty() && self.retired.is_empty()
    }

    /// Whether nothing is listed any more, though something was.
    pub fn is_withdrawn(&self) -> bool {
        self.is_empty() && self.generation > 0
    }
}

impl Device {
    /// How many ids it has: one, or one for each share.
    pub fn count(&self) -> usize {
        self.offered.count() as usize
    }

    /// Its ids, in order.
    pub fn ids(&self) -> impl Iterator<Item = String> {
        let unit = self.offered.unit.as_str();
        let shares = self.offered.shares;
        (0..self.count()).map(move |share| match shares {
            None => unit.to_owned(),
            Some(_) => DeviceId { unit, share: u32::try_from(share).ok() }.to_string(),
        })
    }

    /// Whether this id is one of its.
    pub fn has(&self, id: DeviceId<'_>) -> bool {
        self.offered.has(id)
    }

    /// Whether the kubelet may place work on it.
    pub fn is_schedulable(&self) -> bool {
        self.health.is_schedulable() && self.lacking.is_none()
    }

    /// Whether its NVLinks are not to be relied on.
    pub fn has_link_trouble(&self) -> bool {
        self.health.has_link_trouble()
    }

    /// What is wrong with it, if anything is.
    pub fn complaint(&self) -> Option<String> {
        let unit = &self.offered.unit;
        match (&self.health, &self.lacking) {
            (Health::Healthy, None) => None,
            (Health::Healthy, Some(lacking)) => Some(format!("{unit} cannot be handed out: {lacking}")),
            (health, _) => Some(format!("{unit} is {health}")),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use gpu_model::{Gpu, GpuUuid, Reading};
    use proptest::prelude::*;

    use super::*;

    /// The id of the nth device of [`node`].
    pub(crate) fn gpu(n: usize) -> GpuUuid {
        format!("GPU-00000000-0000-0000-0000-0000000000{n:02x}").parse().unwrap()
    }

    /// The GPU of that id, of which only index and minor number are known.
    pub(crate) fn bare_gpu(index: u32) -> Gpu {
        Gpu { minor: Reading::Value(index), ..Gpu::bare(index, gpu(index as usize)) }
    }

    /// A node of `count` healthy GPUs whose spec is written.
    pub(crate) fn node(count: usize) -> State {
        let device = |n| Device {
            offered: Offered::whole(gpu(n), n as u32, Some(n as u32 / 4)),
            health: Health::Healthy,
            lacking: None,
        };
        let mut state = State::new("nvidia.com/gpu".parse().unwrap());
        state.devices = (0..count).map(device).collect();
        state.spec = SpecState::Ready;
        state
    }

    /// The same with so many shares of each.
    pub(crate) fn shared(count: usize, shares: u32) -> State {
        let mut state = node(count);
        state.devices.iter_mut().for_each(|device| device.offered.shares = Some(shares));
        state
    }

    proptest! {
        #[test]
        fn each_id_leads_back_to_its_device_and_no_other_id_does(count in 1usize..5, shares in proptest::option::of(2u32..9), other: String) {
            let state = shares.map_or_else(|| node(count), |shares| shared(count, shares));
            let ids: Vec<String> = state.devices.iter().flat_map(Device::ids).collect();
            prop_assert_eq!(ids.len(), state.ids());
            for device in &state.devices {
                for id in device.ids() {
                    prop_assert_eq!(state.device(&id), Some(device));
                    let other = format!("{id}0::1");
                    prop_assert!(state.device(&other).is_none());
                }
            }
            prop_assert_eq!(state.device(&other).is_some(), ids.contains(&other));
        }
    }

    #[test]
    fn share_beyond_the_last_and_share_of_a_whole_gpu_are_unknown() {
        let unit = gpu(0);
        assert!(shared(1, 4).device(&format!("{unit}::3")).is_some());
        for unknown in [format!("{unit}::4"), format!("{unit}::03"), unit.to_string()] {
            assert!(shared(1, 4).device(&unknown).is_none(), "{unknown}");
        }
        assert!(node(1).device(&format!("{unit}::0")).is_none());
    }
}
