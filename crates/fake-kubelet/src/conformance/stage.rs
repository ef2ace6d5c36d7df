//! What a case stands on: the kubelet, a resource and names of its own, waiting, and tidying up after it.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use kubelet_api::{
    deviceplugin::{HEALTHY, v1beta1::Device},
    podresources::v1::{
        AllocatableResourcesRequest, AllocatableResourcesResponse, ContainerDevices, ListPodResourcesRequest,
        ListPodResourcesResponse, pod_resources_lister_client::PodResourcesListerClient,
    },
};
use tokio::runtime::{self, Runtime};

use super::{Admission, Amounts, KubeletUnderTest, plugin::ScriptedPlugin};
use crate::{AdmissionError, dial::dial};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(50);

/// The ground under one case.
pub(super) struct Stage<'a> {
    pub(super) kubelet: &'a mut dyn KubeletUnderTest,
    pub(super) resource: String,
    runtime: Runtime,
    number: usize,
    names: usize,
    pods: Vec<String>,
}

impl<'a> Stage<'a> {
    pub(super) fn open(kubelet: &'a mut dyn KubeletUnderTest, number: usize) -> Result<Self, String> {
        let runtime =
            runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        // Not the same as in an earlier run on this kubelet, which may remember that one.
        let resource = format!("conformance.gantry.dev/case-{number}-{}", std::process::id());
        Ok(Stage { kubelet, resource, runtime, number, names: 0, pods: Vec::new() })
    }

    /// Deletes what the case left.
    pub(super) fn close(&mut self) -> Result<(), String> {
        let pods = std::mem::take(&mut self.pods);
        let released: Vec<Result<(), String>> = pods.iter().map(|pod| self.kubelet.release(pod)).collect();
        released.into_iter().collect()
    }

    /// A plugin for the case's resource, serving but not registered, on a socket of its own.
    pub(super) fn plugin(&mut self, devices: Vec<Device>) -> Result<ScriptedPlugin, String> {
        let resource = self.resource.clone();
        self.plugin_of(&resource, devices)
    }

    /// The same for another resource.
    pub(super) fn plugin_of(
        &mut self,
        resource: &str,
        devices: Vec<Device>,
    ) -> Result<ScriptedPlugin, String> {
        let endpoint = format!("{}.sock", self.name("c"));
        ScriptedPlugin::start(&self.kubelet.plugin_dir(), &endpoint, resource, devices)
            .map_err(|error| format!("cannot start a plugin at {endpoint}: {error}"))
    }

    /// A plugin that is registered and whose devices the node shows.
    pub(super) fn registered(&mut self, devices: Vec<Device>) -> Result<ScriptedPlugin, String> {
        let (capacity, allocatable) =
            (devices.len(), devices.iter().filter(|device| device.health == HEALTHY).count());
        let plugin = self.plugin(devices)?;
        plugin.register(plugin.request()).map_err(|status| format!("Register failed: {status}"))?;
        self.until_amounts(capacity, allocatable)?;
        Ok(plugin)
    }

    /// Waits until the node shows these amounts of the case's resource.
    pub(super) fn until_amounts(&mut self, capacity: usize, allocatable: usize) -> Result<(), String> {
        let (wanted, resource) = (Amounts { capacity, allocatable }, self.resource.clone());
        self.until(&format!("{wanted:?} of {resource}"), |stage| {
            let amounts = stage.kubelet.amounts(&stage.resource)?;
            if amounts == wanted { Ok(()) } else { Err(format!("{amounts:?}")) }
        })
    }

    /// Waits until the check passes; the last of its complaints goes into the failure.
    pub(super) fn until(
        &mut self,
        what: &str,
        mut check: impl FnMut(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        let deadline = Instant::now() + self.kubelet.patience();
        loop {
            match check(self) {
                Ok(()) => return Ok(()),
                Err(last) if Instant::now() >= deadline => {
                    return Err(format!("waited for {what}, last seen: {last}"));
                }
                Err(_) => self.runtime.block_on(async { tokio::time::sleep(POLL).await }),
            }
        }
    }

    /// Admits a new pod; whatever comes of it is deleted at the end.
    pub(super) fn pod(&mut self, count: usize) -> Result<(String, Admission), String> {
        let pod = self.name("conformance");
        self.pods.push(pod.clone());
        let resource = self.resource.clone();
        let admission = self.kubelet.admit(&pod, &resource, count)?;
        Ok((pod, admission))
    }

    /// Admits a new pod that must be taken; returns its name.
    pub(super) fn taken(&mut self, count: usize) -> Result<String, String> {
        match self.pod(count)? {
            (pod, Admission::Admitted) => Ok(pod),
            (pod, rejected) => Err(format!("pod {pod} was not admitted: {rejected:?}")),
        }
    }

    /// Admits a new pod with an init container, which must be taken.
    pub(super) fn taken_after_init(&mut self, init: usize, count: usize) -> Result<(), String> {
        let pod = self.name("conformance");
        self.pods.push(pod.clone());
        let resource = self.resource.clone();
        match self.kubelet.admit_after_init(&pod, &resource, init, count)? {
            Admission::Admitted => Ok(()),
            rejected => Err(format!("pod {pod} was not admitted: {rejected:?}")),
        }
    }

    /// Admits a new pod that must be rejected for the reason that device allocation has.
    pub(super) fn rejected(&mut self, count: usize) -> Result<(), String> {
        match self.pod(count)? {
            (_, Admission::Rejected { reason, .. }) if reason == AdmissionError::REASON => Ok(()),
            (pod, other) => Err(format!("pod {pod} was not rejected as it should: {other:?}")),
        }
    }

    /// Deletes a pod now.
    pub(super) fn release(&mut self, pod: &str) -> Result<(), String> {
        self.pods.retain(|held| held != pod);
        self.kubelet.release(pod)
    }

    /// What pod resources say about the case's resource: held devices, pod by pod.
    pub(super) fn held(&self) -> Result<Vec<ContainerDevices>, String> {
        let list: ListPodResourcesResponse = self.ask_pod_resources(async |mut client| {
            client.list(ListPodResourcesRequest {}).await.map(tonic::Response::into_inner)
        })?;
        let containers = list.pod_resources.into_iter().flat_map(|pod| pod.containers);
        Ok(containers
            .flat_map(|container| container.devices)
            .filter(|devices| devices.resource_name == self.resource)
            .collect())
    }

    /// Ids of the case's resource that pod resources call allocatable.
    pub(super) fn allocatable(&self) -> Result<BTreeSet<String>, String> {
        let all: AllocatableResourcesResponse = self.ask_pod_resources(async |mut client| {
            client
                .get_allocatable_resources(AllocatableResourcesRequest {})
                .await
                .map(tonic::Response::into_inner)
        })?;
        Ok(all
            .devices
            .into_iter()
            .filter(|devices| devices.resource_name == self.resource)
            .flat_map(|devices| devices.device_ids)
            .collect())
    }

    fn ask_pod_resources<T, F>(
        &self,
        ask: impl FnOnce(PodResourcesListerClient<tonic::transport::Channel>) -> F,
    ) -> Result<T, String>
    where
        F: Future<Output = Result<T, tonic::Status>>,
    {
        let socket = self.kubelet.pod_resources_socket();
        self.runtime.block_on(async {
            let channel = dial(&socket).await.map_err(|error| format!("{}: {error}", socket.display()))?;
            ask(kubelet_api::podresources::client(channel))
                .await
                .map_err(|status| format!("pod resources: {status}"))
        })
    }

    fn name(&mut self, kind: &str) -> String {
        self.names += 1;
        format!("{kind}-{}-{}-{}", std::process::id(), self.number, self.names)
    }
}
