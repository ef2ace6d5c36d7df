//! The device manager's books: resources, their devices and endpoints, and what pods hold. Pure: no I/O, no clock of
//! its own, no gRPC types but the options.
//!
//! Several oddities are the real kubelet's, kept on purpose: a list from any live endpoint of a resource replaces the
//! resource's devices; a reservation made before a failed `GetPreferredAllocation` stays until pods are recounted.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use kubelet_api::deviceplugin::{
    HEALTHY,
    v1beta1::{Device, DevicePluginOptions},
};

use crate::state::{DeviceState, PodName, ResourceState};

mod choose;
mod pods;

pub(crate) use choose::{Choice, Pending};
pub(crate) use pods::{ContainerBook, PodBook};

/// By what a kubelet tells the plugins of one resource apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tracking {
    /// By their sockets: as in v1.37.2.
    #[default]
    Socket,
    /// Not at all: as in v1.26.0, v1.35.0 and v1.36.0 (`plugin/v1beta1/handler.go`). It keeps one client for each resource, that of
    /// the last registration, and an older one's stream goes on. Whichever stream ends, it is the client that is kept then
    /// that is disconnected, and the resource with it.
    Resource,
}

/// All books of one kubelet.
#[derive(Debug)]
pub(crate) struct Books {
    grace: Duration,
    resources: BTreeMap<String, Resource>,
    pods: BTreeMap<PodName, PodBook>,
    /// Pods that run without being known here, with their containers: the checkpoint that had them was lost.
    bereft: BTreeMap<PodName, BTreeSet<String>>,
    /// Devices of the pod under admission that its init containers leave to those after them, by resource.
    reusable: Option<(PodName, BTreeMap<String, BTreeSet<String>>)>,
    /// Changes the order in which sets are walked, each time.
    salt: u64,
}

#[derive(Debug, Default)]
struct Resource {
    /// Every device of the last list; survives all of the endpoints.
    listed: BTreeMap<String, Device>,
    /// Absent: no list was received since the resource was last forgotten.
    healthy: Option<BTreeSet<String>>,
    unhealthy: Option<BTreeSet<String>>,
    /// Devices that are held or about to be.
    reserved: BTreeSet<String>,
    /// Endpoints with a live stream, by socket name.
    connected: BTreeMap<String, Endpoint>,
    /// The endpoint that is asked for devices: the newest, alive or stopped.
    primary: Option<Endpoint>,
}

impl Resource {
    fn turn_unhealthy(&mut self) {
        let lost = self.healthy.as_mut().map(std::mem::take).unwrap_or_default();
        self.unhealthy.get_or_insert_default().extend(lost);
    }
}

/// A plugin's socket, once registered.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// Names the client to call; absent for one that is known from before a restart only.
    pub(crate) client: Option<u64>,
    pub(crate) socket: String,
    pub(crate) options: DevicePluginOptions,
    pub(crate) stopped: Option<Instant>,
}

/// The same socket is registered for the same resource, and its stream is alive.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AlreadyConnected;

impl Books {
    pub(crate) fn new(grace: Duration) -> Self {
        Books {
            grace,
            resources: BTreeMap::new(),
            pods: BTreeMap::new(),
            bereft: BTreeMap::new(),
            reusable: None,
            salt: 0,
        }
    }

    /// What a kubelet knows after its own restart: capacity 0 until a plugin registers, allocations as before. Of the pods that `run`
    /// it hears in any case.
    pub(crate) fn restored(
        grace: Duration,
        registered: impl IntoIterator<Item = String>,
        pods: BTreeMap<PodName, PodBook>,
        mut run: BTreeMap<PodName, BTreeSet<String>>,
        now: Instant,
    ) -> Self {
        run.retain(|pod, _| !pods.contains_key(pod));
        let mut books = Books { pods, bereft: run, ..Books::new(grace) };
        for name in registered {
            let stopped = Endpoint {
                client: None,
                socket: String::new(),
                options: DevicePluginOptions::default(),
                stopped: Some(now),
            };
            let resource = Resource {
                healthy: Some(BTreeSet::new()),
                unhealthy: Some(BTreeSet::new()),
                primary: Some(stopped),
                ..Resource::default()
            };
            books.resources.insert(name, resource);
        }
        books.recount();
        books
    }

    /// Names of the resources that a restarted kubelet would still know.
    pub(crate) fn registered(&self) -> Vec<String> {
        let known = |(name, resource): (&String, &Resource)| resource.healthy.as_ref().map(|_| name.clone());
        self.resources.iter().filter_map(known).collect()
    }

    /// A plugin was dialled back and told its options: from now on it is the one that is asked.
    pub(crate) fn connected(
        &mut self,
        resource: &str,
        endpoint: Endpoint,
        tracking: Tracking,
    ) -> Result<(), AlreadyConnected> {
        let resource = self.resources.entry(resource.to_owned()).or_default();
        if tracking == Tracking::Socket && resource.connected.contains_key(&endpoint.socket) {
            return Err(AlreadyConnected);
        }
        resource.primary = Some(endpoint.clone());
        resource.connected.insert(endpoint.socket.clone(), endpoint);
        Ok(())
    }

    /// A list arrived: it replaces what the resource had. Returns how many of its devices are healthy.
    pub(crate) fn listed(&mut self, resource: &str, devices: Vec<Device>) -> usize {
        let resource = self.resources.entry(resource.to_owned()).or_default();
        resource.listed = devices.into_iter().map(|device| (device.id.clone(), device)).collect();
        let (healthy, unhealthy): (Vec<_>, Vec<_>) =
            resource.listed.values().partition(|device| device.health == HEALTHY);
        let ids = |devices: Vec<&Device>| devices.into_iter().map(|device| device.id.clone()).collect();
        let (healthy, unhealthy): (BTreeSet<String>, BTreeSet<String>) = (ids(healthy), ids(unhealthy));
        let count = healthy.len();
        (resource.healthy, resource.unhealthy) = (Some(healthy), Some(unhealthy));
        count
    }

    /// A stream ended. With no endpoint left, every device turns unhealthy.
    pub(crate) fn disconnected(&mut self, resource: &str, socket: &str, now: Instant) {
        let Some(resource) = self.resources.get_mut(resource) else { return };
        let Some(gone) = resource.connected.remove(socket) else { return };
        if let Some(other) = resource.connected.values().max_by_key(|endpoint| endpoint.client) {
            // The real kubelet takes any of those that are left.
            resource.primary = Some(other.clone());
            return;
        }
        resource.primary = Some(Endpoint { stopped: Some(now), ..gone });
        resource.turn_unhealthy();
    }

    /// A stream ended at a kubelet that keeps one plugin for each resource. What that means for the resource is said apart.
    pub(crate) fn closed(&mut self, resource: &str, socket: &str) {
        if let Some(resource) = self.resources.get_mut(resource) {
            resource.connected.remove(socket);
        }
    }

    /// The plugin that is kept for a resource is taken for gone, whether it is or not: every device turns unhealthy, whoever
    /// else may list them.
    pub(crate) fn lost(&mut self, resource: &str, now: Instant) {
        let Some(resource) = self.resources.get_mut(resource) else { return };
        if let Some(primary) = &mut resource.primary {
            primary.stopped = Some(now);
        }
        resource.turn_unhealthy();
    }

    /// Forgets resources whose last endpoint stopped longer ago than the grace period: the node keeps 0 of them.
    /// Returns whether there were any.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        let mut any = false;
        for resource in self.resources.values_mut() {
            let known = resource.healthy.is_some() || resource.unhealthy.is_some();
            let stopped = resource.primary.as_ref().and_then(|endpoint| endpoint.stopped);
            if known && stopped.is_some_and(|since| now.saturating_duration_since(since) > self.grace) {
                (resource.healthy, resource.unhealthy, resource.primary) = (None, None, None);
                any = true;
            }
        }
        any
    }

    /// Whether a resource is one that plugins offer: it has a list, or pods hold some of it.
    pub(crate) fn is_known(&self, resource: &str) -> bool {
        self.resources.contains_key(resource)
    }

    /// The endpoint that is asked for a resource's devices.
    pub(crate) fn primary(&self, resource: &str) -> Option<&Endpoint> {
        self.resources.get(resource)?.primary.as_ref()
    }

    /// Every resource for people and tests.
    pub(crate) fn resource_states(&self) -> BTreeMap<String, ResourceState> {
        self.resources
            .iter()
            .map(|(name, resource)| (name.clone(), self.resource_state(name, resource)))
            .collect()
    }

    /// Healthy devices, given away or not, by resource.
    pub(crate) fn allocatable(&self) -> Vec<(&String, Vec<&Device>)> {
        fn of(resource: &Resource) -> Vec<&Device> {
            let healthy = resource.healthy.iter().flatten();
            healthy.filter_map(|id| resource.listed.get(id)).collect()
        }
        self.resources.iter().map(|(name, resource)| (name, of(resource))).collect()
    }

    fn resource_state(&self, name: &str, resource: &Resource) -> ResourceState {
        let healthy = resource.healthy.as_ref().map_or(0, BTreeSet::len);
        let state = |id: &String, healthy: bool| {
            let device = resource.listed.get(id);
            DeviceState {
                id: id.clone(),
                healthy,
                reported: device.map(|device| device.health.clone()).unwrap_or_default(),
                numa: device.map(numa_of).unwrap_or_default(),
                held_by: self.holder_of(name, id),
            }
        };
        let mut devices: Vec<DeviceState> =
            resource.healthy.iter().flatten().map(|id| state(id, true)).collect();
        devices.extend(resource.unhealthy.iter().flatten().map(|id| state(id, false)));
        devices.sort_by(|a, b| a.id.cmp(&b.id));
        ResourceState {
            capacity: healthy + resource.unhealthy.as_ref().map_or(0, BTreeSet::len),
            allocatable: healthy,
            endpoints: resource.connected.keys().cloned().collect(),
            devices,
        }
    }
}

/// The NUMA nodes of a device.
pub(crate) fn numa_of(device: &Device) -> Vec<i64> {
    device.topology.iter().flat_map(|topology| topology.nodes.iter().map(|node| node.id)).collect()
}
