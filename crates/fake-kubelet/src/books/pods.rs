//! The books on pods: who holds which devices, and the oracle that no device is held twice.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Books, numa_of};
use crate::{
    injection::Injection,
    state::{Holding, PodName, PodRequest, PodState},
};

/// What a pod's containers hold.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct PodBook {
    /// By container.
    pub(crate) containers: BTreeMap<String, ContainerBook>,
}

/// What a container holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ContainerBook {
    /// It ends before its pod's other containers start, which reuse what it held.
    pub(crate) init: bool,
    /// By resource.
    pub(crate) held: BTreeMap<String, Held>,
}

/// Devices of one resource in one container.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Held {
    /// NUMA nodes by device id, as they were at admission.
    pub(crate) devices: BTreeMap<String, Vec<i64>>,
    /// The plugin's answer.
    pub(crate) injection: Injection,
}

/// A device that two containers hold at once: a fault in the books, whatever led to it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) device: String,
    pub(crate) first: String,
    pub(crate) second: String,
}

impl PodBook {
    /// Init containers that end are not among them.
    pub(crate) fn running(&self) -> impl Iterator<Item = (&String, &ContainerBook)> {
        self.containers.iter().filter(|(_, container)| !container.init)
    }
}

impl Books {
    /// What a container holds of a resource.
    pub(crate) fn held(&self, pod: &PodName, container: &str, resource: &str) -> Option<&Held> {
        self.pods.get(pod)?.containers.get(container)?.held.get(resource)
    }

    /// Everything that pods hold.
    pub(crate) fn pods(&self) -> &BTreeMap<PodName, PodBook> {
        &self.pods
    }

    /// Pods that run and hold nothing in these books.
    pub(crate) fn bereft(&self) -> &BTreeMap<PodName, BTreeSet<String>> {
        &self.bereft
    }

    /// All pods that run, with the names of their containers.
    pub(crate) fn running(&self) -> BTreeMap<PodName, BTreeSet<String>> {
        let names = |book: &PodBook| book.running().map(|(name, _)| name.clone()).collect();
        let known = self.pods.iter().map(|(pod, book)| (pod.clone(), names(book)));
        self.bereft.clone().into_iter().chain(known).collect()
    }

    /// Writes an admitted container's devices down, and checks that nobody else holds them.
    pub(crate) fn hold(
        &mut self,
        request: &PodRequest,
        ids: &BTreeSet<String>,
        injection: Injection,
    ) -> Result<(), Holder> {
        let listed = self.resources.get(&request.resource).map(|resource| &resource.listed);
        let numa = |id: &String| listed.and_then(|listed| listed.get(id)).map(numa_of).unwrap_or_default();
        let devices = ids.iter().map(|id| (id.clone(), numa(id))).collect();
        self.bereft.remove(&request.pod);
        let pod = self.pods.entry(request.pod.clone()).or_default();
        let container = pod.containers.entry(request.container.clone()).or_default();
        container.init = request.init;
        container.held.insert(request.resource.clone(), Held { devices, injection });
        // Another pod's release meanwhile counted only what was written down by then.
        self.resources.entry(request.resource.clone()).or_default().reserved.extend(ids.iter().cloned());
        self.settle_reusable(request, ids);
        self.double_holder(&request.resource).map_or(Ok(()), Err)
    }

    /// A pod ended: its devices are free again. Returns whether it was known.
    pub(crate) fn release(&mut self, pod: &PodName) -> bool {
        self.bereft.remove(pod);
        let known = self.pods.remove(pod).is_some();
        // Not without one: as in the real kubelet, what a failed admission left reserved stays so until then.
        if known {
            self.recount();
        }
        known
    }

    /// Takes for reserved exactly what pods hold.
    pub(crate) fn recount(&mut self) {
        for resource in self.resources.values_mut() {
            resource.reserved.clear();
        }
        for container in self.pods.values().flat_map(|pod| pod.containers.values()) {
            for (name, held) in &container.held {
                let resource = self.resources.entry(name.clone()).or_default();
                resource.reserved.extend(held.devices.keys().cloned());
            }
        }
    }

    /// Devices that the pod's init containers leave to the next container; another pod's are forgotten.
    pub(super) fn reusable(&mut self, pod: &PodName, resource: &str) -> BTreeSet<String> {
        if self.reusable.as_ref().is_none_or(|(owner, _)| owner != pod) {
            self.reusable = Some((pod.clone(), BTreeMap::new()));
        }
        self.reusable.as_ref().and_then(|(_, sets)| sets.get(resource)).cloned().unwrap_or_default()
    }

    pub(crate) fn pod_states(&self) -> Vec<PodState> {
        let holding = |(name, container): (&String, &ContainerBook)| -> Vec<Holding> {
            let held = container.held.iter().map(|(resource, held)| Holding {
                container: name.clone(),
                resource: resource.clone(),
                devices: held.devices.keys().cloned().collect(),
                injection: held.injection.clone(),
            });
            held.collect()
        };
        self.pods
            .iter()
            .map(|(pod, book)| PodState {
                pod: pod.clone(),
                holdings: book.containers.iter().flat_map(holding).collect(),
            })
            .collect()
    }

    /// `namespace/pod/container` of a container that holds the device; one that runs goes before an init container.
    pub(super) fn holder_of(&self, resource: &str, id: &str) -> Option<String> {
        self.holders(resource)
            .filter(|holder| holder.2.contains_key(id))
            .max_by_key(|holder| !holder.1.init)
            .map(|(name, ..)| name)
    }

    fn settle_reusable(&mut self, request: &PodRequest, ids: &BTreeSet<String>) {
        let Some((_, sets)) = &mut self.reusable else { return };
        let set = sets.entry(request.resource.clone()).or_default();
        if request.init {
            set.extend(ids.iter().cloned());
        } else {
            set.retain(|id| !ids.contains(id));
        }
    }

    fn holders(
        &self,
        resource: &str,
    ) -> impl Iterator<Item = (String, &ContainerBook, &BTreeMap<String, Vec<i64>>)> {
        self.pods.iter().flat_map(move |(pod, book)| {
            book.containers.iter().filter_map(move |(name, container)| {
                let held = container.held.get(resource)?;
                Some((format!("{pod}/{name}"), container, &held.devices))
            })
        })
    }

    /// The oracle. An init container has ended when its pod's other containers run, so those may hold the same.
    fn double_holder(&self, resource: &str) -> Option<Holder> {
        let mut seen: BTreeMap<&String, (String, bool)> = BTreeMap::new();
        for (name, container, devices) in self.holders(resource) {
            for device in devices.keys() {
                if let Some((first, init)) = seen.get(device) {
                    let same_pod = first.rsplit_once('/').map(|(pod, _)| pod)
                        == name.rsplit_once('/').map(|(pod, _)| pod);
                    if !same_pod || !(*init || container.init) {
                        return Some(Holder { device: device.clone(), first: first.clone(), second: name });
                    }
                    // Of an init container and one that runs, the latter is remembered.
                    if container.init {
                        continue;
                    }
                }
                seen.insert(device, (name.clone(), container.init));
            }
        }
        None
    }
}
