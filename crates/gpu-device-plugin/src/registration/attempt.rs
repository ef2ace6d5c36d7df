//! One attempt to register: connect to the kubelet's socket, and call `Register` on it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kubelet_api::deviceplugin::v1beta1::RegisterRequest;
use kubelet_api::deviceplugin::v1beta1::registration_client::RegistrationClient;
use node_host::FileIdentity;
use thiserror::Error;
use tokio::time::timeout;

use crate::connect::{self, ConnectError};

/// The attempt failed.
#[derive(Debug, Error)]
pub(super) enum RegisterError {
    #[error("cannot connect to {path:?}")]
    Connect { path: PathBuf, source: ConnectError },
    #[error("the kubelet refused the registration: {}: {}", status.code(), status.message())]
    Refused { status: Box<tonic::Status> },
    #[error("the kubelet did not answer Register within {after:?}")]
    TimedOut { after: Duration },
    #[error("the kubelet's socket was replaced meanwhile")]
    Replaced,
}

impl RegisterError {
    /// The reason code on `/ready`.
    pub(super) fn code(&self) -> &'static str {
        match self {
            RegisterError::Connect { .. } => "kubelet-unreachable",
            RegisterError::Refused { .. } => "register-refused",
            RegisterError::TimedOut { .. } => "register-timeout",
            RegisterError::Replaced => "kubelet-restarted",
        }
    }
}

/// Connects and registers. The connection leads to this kubelet and no successor.
pub(super) async fn attempt(
    path: &Path,
    kubelet: FileIdentity,
    request: RegisterRequest,
    after: Duration,
) -> Result<(), RegisterError> {
    let channel = connect::channel_to(path)
        .await
        .map_err(|source| RegisterError::Connect { path: path.to_owned(), source })?;
    // The same socket before and after connecting.
    if FileIdentity::of(path).ok() != Some(kubelet) {
        return Err(RegisterError::Replaced);
    }
    match timeout(after, RegistrationClient::new(channel).register(request)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(status)) => Err(RegisterError::Refused { status: Box::new(status) }),
        Err(_) => Err(RegisterError::TimedOut { after }),
    }
}
