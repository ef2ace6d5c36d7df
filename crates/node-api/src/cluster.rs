//! The API server: one request at a time, with a deadline, counted, and every failure told apart.
//!
//! It retries nothing: whoever asks knows what a retry is worth.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::{BodyExt, Limited};
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use tokio::time::timeout;

use crate::access::Access;
use crate::answer::Answer;
use crate::error::ApiError;
use crate::requests::Requests;
use crate::timing::Timing;

/// The longest answer that is read, in bytes: an object in etcd has 1.5 MiB at most.
const MAX_ANSWER: usize = 4 << 20;

/// What asks for an object's metadata alone.
pub(crate) const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// The cluster's API server. Clones share client and counts.
#[derive(Clone)]
pub struct Cluster {
    access: Access,
    timing: Timing,
    client: Arc<Mutex<Option<Client>>>,
    requests: Requests,
}

/// A request to be made.
pub(crate) struct Call {
    pub verb: &'static str,
    pub resource: &'static str,
    pub method: Method,
    /// Path and query.
    pub path: String,
    pub accept: &'static str,
    pub content_type: &'static str,
    pub body: Vec<u8>,
}

impl Call {
    /// A request without a body.
    pub fn new(verb: &'static str, resource: &'static str, method: Method, path: String) -> Call {
        let json = "application/json";
        Call { verb, resource, method, path, accept: json, content_type: json, body: Vec::new() }
    }
}

impl Cluster {
    /// Prepares to speak to the API server; it neither reads nor sends anything yet. Credentials that aren't there or
    /// make no sense are a failed request's reason, and are read again for the next one.
    pub fn connect(access: Access, timing: Timing) -> Cluster {
        Cluster { access, timing, client: Arc::default(), requests: Requests::default() }
    }

    /// The waits that everything over this cluster keeps to.
    pub fn timing(&self) -> &Timing {
        &self.timing
    }

    /// What was asked until now.
    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    /// Makes a request and reads its answer.
    pub(crate) async fn call(&self, call: Call) -> Result<Vec<u8>, ApiError> {
        let (verb, resource) = (call.verb, call.resource);
        let answer = timeout(self.timing.answer, async {
            let response = self.send(call).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await;
            let body = body.map_err(|source| ApiError::Unreachable(source.into()))?.to_bytes();
            if head.status.is_success() {
                return Ok((head.status.as_u16(), body.to_vec()));
            }
            Err(ApiError::Answer(Box::new(Answer::read(head.status.as_u16(), &head.headers, &body))))
        });
        let answer = answer.await.unwrap_or(Err(ApiError::Timeout(self.timing.answer)));
        self.note(verb, resource, answer.as_ref().map(|(code, _)| *code));
        answer.map(|(_, body)| body)
    }

    /// Makes a request whose answer is a stream.
    pub(crate) async fn open(&self, call: Call) -> Result<Body, ApiError> {
        let (verb, resource) = (call.verb, call.resource);
        let answer = timeout(self.timing.answer, async {
            let response = self.send(call).await?;
            let (head, body) = response.into_parts();
            if head.status.is_success() {
                return Ok((head.status.as_u16(), body));
            }
            let body = Limited::new(body, MAX_ANSWER).collect().await;
            let body = body.map_err(|source| ApiError::Unreachable(source.into()))?.to_bytes();
            Err(ApiError::Answer(Box::new(Answer::read(head.status.as_u16(), &head.headers, &body))))
        });
        let answer = answer.await.unwrap_or(Err(ApiError::Timeout(self.timing.answer)));
        self.note(verb, resource, answer.as_ref().map(|(code, _)| *code));
        answer.map(|(_, body)| body)
    }

    async fn send(&self, call: Call) -> Result<Response<Body>, ApiError> {
        let client = self.client().await?;
        let request = Request::builder()
            .method(call.method)
            .uri(call.path.as_str())
            .header(ACCEPT, call.accept)
            .header(CONTENT_TYPE, call.content_type)
            .body(Body::from(call.body))
            .map_err(|source| ApiError::Access {
                access: format!("a request for {}", call.path),
                source: Arc::new(source),
            })?;
        client.send(request).await.map_err(|error| match error {
            // The credentials' own trouble, as a token file that cannot be read.
            kube::Error::Auth(source) => self.access_error(Arc::new(source)),
            kube::Error::Service(source) => ApiError::Unreachable(source.into()),
            kube::Error::HyperError(source) => ApiError::Unreachable(Arc::new(source)),
            other => ApiError::Unreachable(Arc::new(other)),
        })
    }

    async fn client(&self) -> Result<Client, ApiError> {
        if let Some(client) = self.known().clone() {
            return Ok(client);
        }
        let client = self.access.client().await.map_err(|source| self.access_error(source.into()))?;
        *self.known() = Some(client.clone());
        Ok(client)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Option<Client>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn access_error(&self, source: Arc<dyn Error + Send + Sync>) -> ApiError {
        ApiError::Access { access: self.access.to_string(), source }
    }

    fn note(&self, verb: &'static str, resource: &'static str, outcome: Result<u16, &ApiError>) {
        let outcome = match outcome {
            Ok(code) => code.to_string(),
            Err(ApiError::Access { .. }) => "no-access".to_owned(),
            Err(ApiError::Timeout(_)) => "timeout".to_owned(),
            Err(ApiError::Answer(answer)) => {
                // A token that is no longer good may have been replaced: it is read anew, not after a minute.
                if answer.code == 401 {
                    *self.known() = None;
                }
                answer.code.to_string()
            }
            Err(ApiError::Unreachable(_) | ApiError::Garbage { .. }) => "unreachable".to_owned(),
        };
        self.requests.count(verb, resource, outcome);
    }
}

/// A value of a query, percent-encoded.
pub(crate) fn encoded(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Cluster").field("access", &self.access).finish_non_exhaustive()
    }
}
