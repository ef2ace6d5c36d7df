//! How a new resource map is taken up while pods hold devices of an older one. Pure: map × held ids -> what is listed.
//!
//! What is free takes its new form at once. What is held and has no place in the new map stays listed under its id, as
//! Unhealthy, so that the kubelet keeps its books right and gives it to nobody else; and what would make use of the same
//! part of a GPU waits until it is released.
//!
//! ```text
//!   held            new                          until the pod ends
//!   GPU-1           GPU-1::0 to ::3              GPU-1 unhealthy; none of the shares
//!   GPU-1::3        GPU-1::0, ::1                both, and GPU-1::3 unhealthy
//!   MIG-7 of GPU-1  GPU-1                        MIG-7 unhealthy; GPU-1 waits
//!   MIG-7 of GPU-1  MIG-8 of GPU-1               both, and MIG-7 unhealthy
//! ```

use std::collections::BTreeMap;

use gpu_model::{GpuUuid, ResourceName};

use crate::device_id::DeviceId;
use crate::held::Held;
use crate::resource_map::{Offered, Unit};

/// Ids that a remark names; there may be thousands.
const NAMED: usize = 8;

/// What is listed while the new map is taken up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Staged {
    /// What is offered of the new map.
    pub resources: BTreeMap<ResourceName, Vec<Offered>>,
    /// Held ids that have no place in it, in order.
    pub retired: BTreeMap<ResourceName, Vec<String>>,
    /// What of the new map has to wait.
    pub waiting: Vec<Waiting>,
}

/// A device that has to wait for a held one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Under which resource it will be offered.
    pub resource: ResourceName,
    /// What will be.
    pub offered: Offered,
    /// The id that is held, and its resource.
    pub held: (ResourceName, String),
}

/// A held id, taken apart.
struct Holding<'a> {
    resource: &'a ResourceName,
    text: &'a str,
    id: DeviceId<'a>,
}

/// What of `resources` can be offered while `held` is.
pub fn stage(resources: BTreeMap<ResourceName, Vec<Offered>>, held: &Held) -> Staged {
    let mut staged = Staged::default();
    let by_gpu = by_gpu(held);
    for (resource, devices) in resources {
        let (mut offered, mut of_resource) = (Vec::with_capacity(devices.len()), Vec::new());
        for device in devices {
            let holdings = device.gpu().and_then(|gpu| by_gpu.get(gpu)).map_or(&[][..], Vec::as_slice);
            match holdings.iter().find(|holding| holding.is_in_the_way_of(&resource, &device)) {
                None => offered.push(device),
                Some(holding) => {
                    let held = (holding.resource.clone(), holding.text.to_owned());
                    of_resource.push(Waiting { resource: resource.clone(), offered: device, held });
                }
            }
        }
        staged.waiting.append(&mut of_resource);
        staged.resources.insert(resource, offered);
    }
    for (resource, ids) in &held.ids {
        let units: BTreeMap<&str, &Offered> = staged
            .resources
            .get(resource)
            .into_iter()
            .flatten()
            .map(|device| (device.unit.as_str(), device))
            .collect();
        let has_place = |text: &String| {
            DeviceId::parse(text).is_some_and(|id| units.get(id.unit).is_some_and(|device| device.has(id)))
        };
        let retired: Vec<String> = ids.iter().filter(|id| !has_place(id)).cloned().collect();
        if !retired.is_empty() {
            staged.retired.insert(resource.clone(), retired);
        }
    }
    staged
}

fn by_gpu(held: &Held) -> BTreeMap<GpuUuid, Vec<Holding<'_>>> {
    let mut by_gpu: BTreeMap<GpuUuid, Vec<Holding<'_>>> = BTreeMap::new();
    for (resource, text) in
        held.ids.iter().flat_map(|(resource, ids)| ids.iter().map(move |id| (resource, id)))
    {
        let Some(id) = DeviceId::parse(text) else { continue };
        let Some(gpu) = held.gpu_of(id) else { continue };
        by_gpu.entry(gpu).or_default().push(Holding { resource, text, id });
    }
    by_gpu
}

impl Holding<'_> {
    /// Whether a device of the same GPU, once offered, could take what this one's holder has.
    fn is_in_the_way_of(&self, resource: &ResourceName, device: &Offered) -> bool {
        if self.resource == resource && device.has(self.id) {
            return false;
        }
        if self.id.unit == device.unit.as_str() {
            return self.id.share.is_none() || device.shares.is_none();
        }
        // Of two MIG devices each has its own part; a whole GPU is every part.
        device.gpu().is_some_and(|gpu| self.id.unit == gpu.as_str()) || matches!(device.unit, Unit::Gpu(_))
    }
}

impl Staged {
    /// What a person should know of it: nothing while no held device is in the way.
    pub fn remarks(&self) -> Vec<String> {
        let waiting = self.waiting.iter().map(|Waiting { resource, offered, held: (old, id) }| {
            let shares = offered.shares.map_or_else(String::new, |shares| format!("{shares} shares of "));
            let form = match (&offered.gpu, offered.mig) {
                (Some(gpu), Some(_)) => format!("MIG device {} of GPU {}", offered.unit, gpu.index),
                (Some(gpu), None) => format!("GPU {} ({})", gpu.index, offered.unit),
                (None, _) => offered.unit.to_string(),
            };
            format!("{shares}{form} will be offered as {resource} when a pod releases {id} of {old}")
        });
        let retired = self.retired.iter().map(|(resource, ids)| {
            let named = ids.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
            let more = ids.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("{resource}: held by pods and not offered any more: {named}{more}; listed as Unhealthy until released")
        });
        waiting.chain(retired).collect()
    }
}

#[cfg(test)]
mod tests;
