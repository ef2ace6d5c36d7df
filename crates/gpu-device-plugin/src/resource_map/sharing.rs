//! Sharing by taking turns: which devices have several ids, and under which name. Pure.

use std::collections::BTreeMap;

use gpu_config::{Devices, SharedResource, TimeSlicing};
use gpu_model::ResourceName;

use super::Offered;

type Resources = BTreeMap<ResourceName, Vec<Offered>>;

/// Shares the devices that the config means, by the first entry that does; the others stay as they are.
pub(super) fn share(
    resources: Resources,
    sharing: Option<&TimeSlicing>,
    remarks: &mut Vec<String>,
) -> Resources {
    let entries = sharing.map_or(&[][..], |sharing| &sharing.resources);
    let mut used = vec![false; entries.len()];
    let mut shared = Resources::new();
    for (resource, devices) in resources {
        for (at, mut device) in devices.into_iter().enumerate() {
            let entry = sharing.and_then(|sharing| sharing.entry(&resource, at, device.named()));
            let name = match entry {
                None => resource.clone(),
                Some((number, entry)) => {
                    used[number] = true;
                    device.shares = Some(entry.replicas);
                    entry.shared_as.clone()
                }
            };
            shared.entry(name).or_default().push(device);
        }
    }
    let unused = entries.iter().zip(used).filter(|(_, used)| !used).map(|(entry, _)| entry);
    remarks.extend(unused.map(met_nothing));
    shared
}

fn met_nothing(entry: &SharedResource) -> String {
    let which = match &entry.devices {
        Devices::All | Devices::Count(_) => String::new(),
        Devices::These(these) => {
            let these: Vec<String> = these.iter().map(ToString::to_string).collect();
            format!(" of {}", these.join(", "))
        }
    };
    format!("the sharing{which} under {} meets no device of this node", entry.resource)
}
