//! The pod resources service, answered from the books as the real kubelet answers it: one entry per device and NUMA
//! node, one entry for a device without topology, none for a device whose topology names no node.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kubelet_api::podresources::v1::{
    AllocatableResourcesRequest, AllocatableResourcesResponse, ContainerDevices, ContainerResources,
    GetPodResourcesRequest, GetPodResourcesResponse, ListPodResourcesRequest, ListPodResourcesResponse,
    NumaNode, PodResources, TopologyInfo, pod_resources_lister_server::PodResourcesLister,
};
use tonic::{Request, Response, Status};

use crate::{
    books::{ContainerBook, PodBook},
    incarnation::Incarnation,
    state::PodName,
};

/// Serves [`PodResourcesLister`].
pub(crate) struct Lister(pub(crate) Arc<Incarnation>);

#[tonic::async_trait]
impl PodResourcesLister for Lister {
    async fn list(
        &self,
        _: Request<ListPodResourcesRequest>,
    ) -> Result<Response<ListPodResourcesResponse>, Status> {
        let books = self.0.books();
        let known = books.pods().iter().map(|(pod, book)| resources(pod, book));
        let bereft = books.bereft().iter().map(|(pod, containers)| without(pod, containers));
        Ok(Response::new(ListPodResourcesResponse { pod_resources: known.chain(bereft).collect() }))
    }

    async fn get_allocatable_resources(
        &self,
        _: Request<AllocatableResourcesRequest>,
    ) -> Result<Response<AllocatableResourcesResponse>, Status> {
        let books = self.0.books();
        let mut devices = Vec::new();
        for (resource, healthy) in books.allocatable() {
            for device in healthy {
                match &device.topology {
                    None => devices.push(entry(resource, &device.id, None)),
                    Some(topology) => {
                        devices.extend(
                            topology.nodes.iter().map(|node| entry(resource, &device.id, Some(node.id))),
                        );
                    }
                }
            }
        }
        Ok(Response::new(AllocatableResourcesResponse { devices, ..Default::default() }))
    }

    async fn get(
        &self,
        request: Request<GetPodResourcesRequest>,
    ) -> Result<Response<GetPodResourcesResponse>, Status> {
        let GetPodResourcesRequest { pod_name: name, pod_namespace: namespace } = request.into_inner();
        let pod = PodName { namespace, name };
        let books = self.0.books();
        let book =
            books.pods().get(&pod).ok_or_else(|| Status::unknown(format!("no pod {pod} on this node")))?;
        Ok(Response::new(GetPodResourcesResponse { pod_resources: Some(resources(&pod, book)) }))
    }
}

fn resources(pod: &PodName, book: &PodBook) -> PodResources {
    let containers = book.running().map(|(name, container)| container_resources(name, container));
    pod_resources(pod, containers.collect())
}

/// A pod of which nothing is known but that it runs.
fn without(pod: &PodName, containers: &BTreeSet<String>) -> PodResources {
    let nothing = ContainerBook::default();
    let containers = containers.iter().map(|name| container_resources(name, &nothing));
    pod_resources(pod, containers.collect())
}

fn pod_resources(pod: &PodName, containers: Vec<ContainerResources>) -> PodResources {
    let (name, namespace) = (pod.name.clone(), pod.namespace.clone());
    PodResources { name, namespace, containers, ..Default::default() }
}

fn container_resources(name: &str, container: &ContainerBook) -> ContainerResources {
    let mut devices = Vec::new();
    for (resource, held) in &container.held {
        devices.extend(each(resource, &held.devices));
    }
    ContainerResources { name: name.to_owned(), devices, ..Default::default() }
}

fn each<'a>(
    resource: &'a str,
    devices: &'a BTreeMap<String, Vec<i64>>,
) -> impl Iterator<Item = ContainerDevices> + 'a {
    devices.iter().flat_map(move |(id, nodes)| {
        let without = nodes.is_empty().then(|| entry(resource, id, None));
        nodes.iter().map(move |node| entry(resource, id, Some(*node))).chain(without)
    })
}

fn entry(resource: &str, id: &str, node: Option<i64>) -> ContainerDevices {
    ContainerDevices {
        resource_name: resource.to_owned(),
        device_ids: vec![id.to_owned()],
        topology: node.map(|id| TopologyInfo { nodes: vec![NumaNode { id }] }),
    }
}
