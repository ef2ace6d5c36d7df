//! Asks a kubelet's pod resources socket what is allocatable and what is held.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use kubelet_api::podresources;
use kubelet_api::podresources::v1::{
    AllocatableResourcesRequest, ContainerDevices, ListPodResourcesRequest, ListPodResourcesResponse,
};
use thiserror::Error;
use tokio::runtime;
use tokio::time::timeout;
use tonic::Status;
use tonic::transport::{self, Endpoint};

use crate::look::Ids;

/// Longest time for both answers.
const PATIENCE: Duration = Duration::from_secs(10);

/// Both answers, the first one first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodResources {
    /// The ids that the kubelet takes for healthy.
    pub allocatable: Ids,
    /// What each container holds, by `pod/container`, of pods in the namespace asked for.
    pub held: BTreeMap<String, Ids>,
}

/// A kubelet that did not answer.
#[derive(Debug, Error)]
pub enum AskError {
    /// No runtime for the question.
    #[error("no runtime for gRPC")]
    Runtime(#[source] io::Error),
    /// Nobody listens.
    #[error("cannot connect")]
    Connect(#[source] transport::Error),
    /// It refused.
    #[error("the call failed: {0}")]
    Call(Box<Status>),
    /// It is too slow.
    #[error("no answer within {PATIENCE:?}")]
    Late,
}

/// Asks. Must not be called by a task.
///
/// # Errors
/// When the kubelet does not answer.
pub fn pod_resources(socket: &Path, namespace: &str) -> Result<PodResources, AskError> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(AskError::Runtime)?;
    runtime.block_on(async { timeout(PATIENCE, ask(socket, namespace)).await.unwrap_or(Err(AskError::Late)) })
}

async fn ask(socket: &Path, namespace: &str) -> Result<PodResources, AskError> {
    let endpoint = Endpoint::from_shared(format!("unix:{}", socket.display())).map_err(AskError::Connect)?;
    let channel = endpoint.connect().await.map_err(AskError::Connect)?;
    let mut client = podresources::client(channel);
    let refused = |status| AskError::Call(Box::new(status));
    let allocatable =
        client.get_allocatable_resources(AllocatableResourcesRequest {}).await.map_err(refused)?.into_inner();
    let listed = client.list(ListPodResourcesRequest {}).await.map_err(refused)?.into_inner();
    Ok(PodResources { allocatable: ids(allocatable.devices), held: held(listed, namespace) })
}

fn held(listed: ListPodResourcesResponse, namespace: &str) -> BTreeMap<String, Ids> {
    let pods = listed.pod_resources.into_iter().filter(|pod| pod.namespace == namespace);
    let containers = pods.flat_map(|pod| {
        pod.containers
            .into_iter()
            .map(move |container| (format!("{}/{}", pod.name, container.name), ids(container.devices)))
    });
    containers.filter(|(_, ids)| !ids.is_empty()).collect()
}

/// A device stands there once for each of its NUMA nodes.
fn ids(devices: Vec<ContainerDevices>) -> Ids {
    let mut ids = Ids::new();
    for device in devices {
        ids.entry(device.resource_name).or_default().extend(device.device_ids);
    }
    ids
}
