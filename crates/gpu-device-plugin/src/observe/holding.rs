//! What pods hold, as far as it is of our own resources, and how the newest map is taken up beside it.

use std::collections::{BTreeMap, BTreeSet};

use gpu_model::ResourceName;

use super::Watching;
use crate::device_id::DeviceId;
use crate::held::Held;
use crate::holders::Use;
use crate::resource_map::Offered;
use crate::staging::{Staged, stage};

/// What is remembered of our resources.
#[derive(Debug, Default)]
pub(super) struct Ours {
    /// Those of the newest map, and older ones of which pods hold something still.
    resources: BTreeSet<ResourceName>,
    /// Whether the last process's are among them.
    has_kept: bool,
}

impl Watching {
    /// What of these resources can be offered now. Tells what is kept, and whether something waits.
    pub(super) fn stage(&mut self, resources: BTreeMap<ResourceName, Vec<Offered>>) -> Staged {
        let held = self.held_of(&resources);
        let staged = stage(resources, &held);
        let is_waiting = !(staged.retired.is_empty() && staged.waiting.is_empty());
        self.with.metrics.staged(staged.waiting.len());
        self.with.used.send_if_modified(|last| {
            let next = Use { held, is_waiting };
            let is_news = *last != next;
            *last = next;
            is_news
        });
        staged
    }

    /// Another plugin's resources are left to it, what it gave of the same GPUs included.
    fn held_of(&mut self, resources: &BTreeMap<ResourceName, Vec<Offered>>) -> Held {
        let holdings = self.with.holdings.borrow_and_update();
        // What was held when this was asked last.
        let used = self.with.used.borrow();
        let ours = &mut self.ours.resources;
        if !self.ours.has_kept && !holdings.kept.ids.is_empty() {
            self.ours.has_kept = true;
            ours.extend(holdings.kept.ids.keys().cloned());
        }
        ours.extend(resources.keys().cloned());
        let ids = holdings.of(|resource| ours.contains(resource));
        ours.retain(|resource| resources.contains_key(resource) || ids.contains_key(resource));

        let listed =
            self.known.iter().flat_map(|gpu| gpu.mig_devices.iter().map(|mig| (&mig.uuid, &gpu.uuid)));
        let listed: BTreeMap<_, _> = listed.collect();
        let mut mig_gpus = BTreeMap::new();
        for unit in ids.values().flatten().filter_map(|id| DeviceId::parse(id)?.unit.parse().ok()) {
            let remembered = || used.held.mig_gpus.get(&unit).or_else(|| holdings.kept.mig_gpus.get(&unit));
            if let Some(gpu) = listed.get(&unit).copied().or_else(remembered) {
                mig_gpus.insert(unit, gpu.clone());
            }
        }
        Held { ids, mig_gpus }
    }

    /// How many ids of a resource pods hold.
    pub(super) fn held_ids(&self, resource: &ResourceName) -> usize {
        self.with.used.borrow().held.ids.get(resource).map_or(0, BTreeSet::len)
    }
}
