//! Which devices a container gets: the real kubelet's order of sources, with the plugin asked in the middle.
//!
//! What is already its own; what init containers left; devices on the wanted NUMA nodes; what the plugin prefers; the
//! other NUMA nodes; devices without one. A device counts as taken from the moment that it is chosen.

use std::collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher};
use std::hash::{Hash, Hasher};

use super::{Books, Resource, numa_of};
use crate::{admission::AdmissionError, state::PodRequest};

type Ids = BTreeSet<String>;

/// The outcome of a choice, or what it waits for.
#[derive(Debug)]
pub(crate) enum Choice {
    /// The container has its devices from an earlier admission.
    Held,
    /// These.
    Chosen(Ids),
    /// The plugin is to be asked; then [`Books::choose_preferred`] ends it.
    Ask(Pending),
}

/// A choice that waits for the plugin's preference.
#[derive(Debug)]
pub(crate) struct Pending {
    /// Ids that the plugin may name, those that it must name included.
    pub(crate) available: Ids,
    /// Ids that are chosen already.
    pub(crate) must_include: Ids,
    /// How many ids the plugin is to name.
    pub(crate) size: usize,
    /// What of its answer counts.
    usable: Ids,
    /// Where the rest comes from.
    fallback: Vec<Ids>,
}

/// Devices by how well they match the wanted NUMA nodes.
struct Aligned {
    aligned: Ids,
    unaligned: Ids,
    without: Ids,
}

impl Books {
    /// Begins a choice.
    ///
    /// # Errors
    /// As the real kubelet rejects the pod.
    pub(crate) fn choose(&mut self, request: &PodRequest) -> Result<Choice, AdmissionError> {
        let name = || request.resource.clone();
        let held: Option<Ids> = self
            .held(&request.pod, &request.container, &request.resource)
            .map(|held| held.devices.keys().cloned().collect());
        if let Some(held) = &held
            && held.len() != request.count
        {
            return Err(AdmissionError::Changed { resource: name(), held: held.len(), count: request.count });
        }
        let reusable = self.reusable(&request.pod, &request.resource);
        let Some(healthy) =
            self.resources.get(&request.resource).and_then(|resource| resource.healthy.clone())
        else {
            return Err(AdmissionError::Unregistered { resource: name() });
        };
        if healthy.is_empty() {
            return Err(AdmissionError::NoneHealthy { resource: name() });
        }
        if held.as_ref().is_some_and(|held| !held.is_subset(&healthy)) {
            return Err(AdmissionError::HeldUnhealthy { resource: name() });
        }
        if held.is_some() || request.count == 0 {
            return Ok(Choice::Held);
        }

        let mut chosen = Ids::new();
        if self.take(request, &mut chosen, &reusable) {
            return Ok(Choice::Chosen(chosen));
        }
        let reserved = self.resources.get(&request.resource).map(|resource| resource.reserved.clone());
        let available: Ids = healthy.difference(&reserved.unwrap_or_default()).cloned().collect();
        let needed = request.count - chosen.len();
        if available.len() < needed {
            return Err(AdmissionError::Unavailable { resource: name(), needed, available: available.len() });
        }
        let Aligned { aligned, unaligned, without } = self.align(request, &available);
        let pending = if needed < aligned.len() {
            Pending {
                available: aligned.union(&chosen).cloned().collect(),
                must_include: chosen,
                size: request.count,
                usable: aligned.clone(),
                fallback: vec![aligned],
            }
        } else {
            if self.take(request, &mut chosen, &aligned) {
                return Ok(Choice::Chosen(chosen));
            }
            Pending {
                available: available.union(&chosen).cloned().collect(),
                must_include: chosen,
                size: request.count,
                usable: available,
                fallback: vec![unaligned, without],
            }
        };
        Ok(Choice::Ask(pending))
    }

    /// Ends a choice with the plugin's preference; an empty one is none.
    ///
    /// # Errors
    /// Devices vanished meanwhile.
    pub(crate) fn choose_preferred(
        &mut self,
        request: &PodRequest,
        pending: Pending,
        preferred: &Ids,
    ) -> Result<Ids, AdmissionError> {
        let mut chosen = pending.must_include;
        let wanted: Ids = preferred.intersection(&pending.usable).cloned().collect();
        for source in std::iter::once(&wanted).chain(&pending.fallback) {
            if self.take(request, &mut chosen, source) {
                return Ok(chosen);
            }
        }
        let (needed, available) = (request.count, chosen.len());
        Err(AdmissionError::Unavailable { resource: request.resource.clone(), needed, available })
    }

    /// The ids in an order that says nothing: the real kubelet walks a Go map.
    pub(crate) fn unordered(&mut self, ids: &Ids) -> Vec<String> {
        self.salt += 1;
        let key = |id: &String| {
            let mut hasher = DefaultHasher::new();
            (self.salt, id).hash(&mut hasher);
            hasher.finish()
        };
        let mut list: Vec<String> = ids.iter().cloned().collect();
        list.sort_by_key(key);
        list
    }

    /// Takes from a source until the request is met; returns whether it is.
    fn take(&mut self, request: &PodRequest, chosen: &mut Ids, source: &Ids) -> bool {
        for id in self.unordered(source) {
            if chosen.len() == request.count {
                break;
            }
            if chosen.insert(id.clone()) {
                self.resources.entry(request.resource.clone()).or_default().reserved.insert(id);
            }
        }
        chosen.len() == request.count
    }

    fn align(&self, request: &PodRequest, available: &Ids) -> Aligned {
        let none = || Aligned { aligned: Ids::new(), unaligned: Ids::new(), without: available.clone() };
        let (Some(wanted), Some(resource)) = (&request.numa, self.resources.get(&request.resource)) else {
            return none();
        };
        if resource.listed.values().all(|device| numa_of(device).is_empty()) {
            return none();
        }
        let by_id: BTreeMap<&String, Vec<i64>> =
            available.iter().map(|id| (id, numa(resource, id))).collect();
        let pick = |matches: &dyn Fn(&[i64]) -> bool| -> Ids {
            by_id.iter().filter(|(_, nodes)| matches(nodes)).map(|(id, _)| (*id).clone()).collect()
        };
        let on_wanted = |nodes: &[i64]| nodes.iter().any(|node| wanted.contains(node));
        Aligned {
            aligned: pick(&on_wanted),
            unaligned: pick(&|nodes| !nodes.is_empty() && !on_wanted(nodes)),
            without: pick(&<[i64]>::is_empty),
        }
    }
}

fn numa(resource: &Resource, id: &str) -> Vec<i64> {
    resource.listed.get(id).map(numa_of).unwrap_or_default()
}
