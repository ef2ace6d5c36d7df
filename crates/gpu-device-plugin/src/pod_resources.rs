//! The kubelet's pod resources service, asked over its socket. Knows the protocol, and nothing of what follows from an
//! answer.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kubelet_api::podresources;
use kubelet_api::podresources::v1::pod_resources_lister_client::PodResourcesListerClient;
use kubelet_api::podresources::v1::{
    AllocatableResourcesRequest, ContainerDevices, ListPodResourcesRequest, PodResources,
};
use thiserror::Error;
use tokio::time::timeout;
use tonic::transport::Channel;

use crate::connect::{self, ConnectError};

/// Longest time for one answer.
const ANSWER: Duration = Duration::from_secs(10);

/// The kubelet did not tell.
#[derive(Debug, Error)]
pub enum AskError {
    /// Nobody answers at its socket.
    #[error("cannot connect to {path}")]
    Connect {
        /// The socket.
        path: String,
        /// Why not.
        source: ConnectError,
    },
    /// It refused the call.
    #[error("{call} of the kubelet's pod resources failed: {message}")]
    Call {
        /// The call.
        call: &'static str,
        /// What it says.
        message: String,
    },
    /// It took too long.
    #[error("the kubelet did not answer within {ANSWER:?}")]
    Timeout,
}

/// A connection to the service.
#[derive(Debug)]
pub struct PodResourcesClient(PodResourcesListerClient<Channel>);

/// What the kubelet counts, and who has it.
#[derive(Debug, Default)]
pub struct Books {
    /// Healthy devices, as it counts them.
    pub allocatable: Vec<ContainerDevices>,
    /// Its pods, asked for after that.
    pub pods: Vec<PodResources>,
}

impl PodResourcesClient {
    async fn connect(socket: &Path) -> Result<PodResourcesClient, AskError> {
        let channel = connect::channel_to(socket)
            .await
            .map_err(|source| AskError::Connect { path: socket.display().to_string(), source })?;
        Ok(PodResourcesClient(podresources::client(channel)))
    }

    async fn list(&mut self) -> Result<Vec<PodResources>, AskError> {
        let listed = self.0.list(ListPodResourcesRequest {}).await;
        let listed = listed.map_err(|status| AskError::Call { call: "List", message: status.to_string() })?;
        Ok(listed.into_inner().pod_resources)
    }

    async fn allocatable(&mut self) -> Result<Vec<ContainerDevices>, AskError> {
        const CALL: &str = "GetAllocatableResources";
        let counted = self.0.get_allocatable_resources(AllocatableResourcesRequest {}).await;
        let counted = counted.map_err(|status| AskError::Call { call: CALL, message: status.to_string() })?;
        Ok(counted.into_inner().devices)
    }
}

/// All pods of the node, with what they hold.
///
/// # Errors
/// When the kubelet does not tell.
pub async fn pods(socket: &Path) -> Result<Vec<PodResources>, AskError> {
    in_time(async { PodResourcesClient::connect(socket).await?.list().await }).await
}

/// What the kubelet counts as allocatable.
///
/// # Errors
/// When the kubelet does not tell.
pub async fn allocatable(socket: &Path) -> Result<Vec<ContainerDevices>, AskError> {
    in_time(async { PodResourcesClient::connect(socket).await?.allocatable().await }).await
}

/// What the kubelet counts as allocatable, and then what pods hold.
///
/// # Errors
/// When the kubelet does not tell one of them.
pub async fn books(socket: PathBuf) -> Result<Books, AskError> {
    in_time(async {
        let mut client = PodResourcesClient::connect(&socket).await?;
        let allocatable = client.allocatable().await?;
        Ok(Books { allocatable, pods: client.list().await? })
    })
    .await
}

async fn in_time<T>(asked: impl Future<Output = Result<T, AskError>>) -> Result<T, AskError> {
    timeout(ANSWER, asked).await.unwrap_or(Err(AskError::Timeout))
}
