//! The two questions to a container runtime, over the Container Runtime Interface: `Version` and `Status`.
//!
//! Only the fields that are read are declared; a receiver skips the others. Facts: `runtime.v1` of
//! `k8s.io/cri-api`.

use std::collections::HashMap;
use std::path::Path;

use prost::Message;
use thiserror::Error;
use tonic::codegen::http::uri::PathAndQuery;
use tonic_prost::ProstCodec;

use crate::connect;

/// Largest answer that is read. A runtime's whole configuration is some ten kilobytes.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// What a runtime says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its name, such as `containerd` or `cri-o`.
    pub runtime: String,
    /// Its version.
    pub version: String,
    /// Its configuration as JSON, if it shows one.
    pub config: Option<String>,
}

/// The runtime could not be asked.
#[derive(Debug, Error)]
pub enum AskError {
    /// Nobody takes connections.
    #[error("cannot connect to {path}")]
    Connect {
        /// The socket.
        path: String,
        /// What the system says.
        source: connect::ConnectError,
    },
    /// A call failed.
    #[error("{call} of the container runtime failed: {}", status.message())]
    Call {
        /// Which.
        call: &'static str,
        /// As gRPC tells it.
        status: Box<tonic::Status>,
    },
}

impl AskError {
    /// Whether no kubelet can use what is there: no socket, one that was left behind, or a program that does not speak
    /// CRI, as Docker's containerd with that part switched off.
    pub fn is_no_runtime(&self) -> bool {
        match self {
            AskError::Connect { source, .. } => source.is_refused() || source.is_missing(),
            AskError::Call { status, .. } => status.code() == tonic::Code::Unimplemented,
        }
    }
}

/// `runtime.v1.VersionRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct VersionRequest {
    /// Version of the kubelet's side; no runtime looks at it.
    #[prost(string, tag = "1")]
    pub version: String,
}

/// `runtime.v1.VersionResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct VersionResponse {
    /// Name of the runtime.
    #[prost(string, tag = "2")]
    pub runtime_name: String,
    /// Its version.
    #[prost(string, tag = "3")]
    pub runtime_version: String,
}

/// `runtime.v1.StatusRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct StatusRequest {
    /// Whether `info` is wanted.
    #[prost(bool, tag = "1")]
    pub verbose: bool,
}

/// `runtime.v1.StatusResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct StatusResponse {
    /// What the runtime likes to tell; containerd puts its configuration under `config`, as JSON.
    #[prost(map = "string, string", tag = "2")]
    pub info: HashMap<String, String>,
}

/// Asks the runtime behind `socket`.
///
/// # Errors
/// When it cannot be reached or refuses an answer.
pub async fn ask(socket: &Path) -> Result<Answer, AskError> {
    let channel = connect::channel_to(socket)
        .await
        .map_err(|source| AskError::Connect { path: socket.display().to_string(), source })?;
    let mut grpc = tonic::client::Grpc::new(channel).max_decoding_message_size(MAX_ANSWER);
    let version: VersionResponse = call(
        &mut grpc,
        "Version",
        "/runtime.v1.RuntimeService/Version",
        VersionRequest { version: "v1".into() },
    )
    .await?;
    let status: StatusResponse =
        call(&mut grpc, "Status", "/runtime.v1.RuntimeService/Status", StatusRequest { verbose: true })
            .await?;
    let mut info = status.info;
    Ok(Answer {
        runtime: version.runtime_name,
        version: version.runtime_version,
        config: info.remove("config"),
    })
}

async fn call<Q, A>(
    grpc: &mut tonic::client::Grpc<tonic::transport::Channel>,
    name: &'static str,
    path: &'static str,
    question: Q,
) -> Result<A, AskError>
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    let failed = |status: tonic::Status| AskError::Call { call: name, status: Box::new(status) };
    grpc.ready()
        .await
        .map_err(|error| failed(tonic::Status::unavailable(daemon::error_chain(&error).to_string())))?;
    let codec: ProstCodec<Q, A> = ProstCodec::default();
    let answer = grpc.unary(tonic::Request::new(question), PathAndQuery::from_static(path), codec).await;
    answer.map(tonic::Response::into_inner).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_no_kubelet_can_use_is_told_from_a_runtime_that_fails() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runtime.sock");
        assert!(ask(&path).await.unwrap_err().is_no_runtime(), "nothing is there");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(ask(&path).await.unwrap_err().is_no_runtime(), "nobody listens");
        let call = |status| AskError::Call { call: "Version", status: Box::new(status) };
        assert!(
            call(tonic::Status::unimplemented("unknown service runtime.v1.RuntimeService")).is_no_runtime()
        );
        assert!(!call(tonic::Status::unavailable("starting")).is_no_runtime());
    }
}
