//! A bare HTTP client: it must not share a line with the client that the suite's servers serve.

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::Target;

const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// Speaks to a [`Target`].
#[derive(Debug)]
pub struct Client {
    target: Target,
    http: HttpClient<HttpConnector, Full<Bytes>>,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// HTTP's code.
    pub code: u16,
    /// The document; null where it is none.
    pub body: Value,
}

/// A watch.
#[derive(Debug)]
pub(super) struct Watch {
    body: Incoming,
    text: Vec<u8>,
}

impl Client {
    /// A client of it.
    pub fn new(target: Target) -> Client {
        Client { target, http: HttpClient::builder(TokioExecutor::new()).build_http() }
    }

    /// Sends a request; `method` may be followed by a content type, as in `PATCH application/merge-patch+json`.
    ///
    /// # Errors
    /// No answer.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        body: &Value,
        metadata: bool,
    ) -> Result<Reply, String> {
        let response = self.open(method, path, body, metadata).await?;
        let code = response.status().as_u16();
        let bytes =
            response.into_body().collect().await.map_err(|error| format!("{method} {path}: {error}"))?;
        Ok(Reply { code, body: serde_json::from_slice(&bytes.to_bytes()).unwrap_or_default() })
    }

    pub(super) async fn watch(&self, path: &str) -> Result<Watch, String> {
        let response = self.open("GET", path, &Value::Null, true).await?;
        match response.status().as_u16() {
            200 => Ok(Watch { body: response.into_body(), text: Vec::new() }),
            code => Err(format!("{path} is answered with {code}")),
        }
    }

    async fn open(
        &self,
        method: &str,
        path: &str,
        body: &Value,
        metadata: bool,
    ) -> Result<hyper::Response<Incoming>, String> {
        let (method, kind) = method.split_once(' ').unwrap_or((method, "application/json"));
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.target.address))
            .header(CONTENT_TYPE, kind)
            .header(ACCEPT, if metadata { METADATA } else { "application/json" });
        if let Some(token) = &self.target.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
        self.http.request(request).await.map_err(|error| format!("{method} {path}: {error}"))
    }
}

impl Watch {
    /// The next event.
    pub async fn next(&mut self) -> Result<Value, String> {
        loop {
            if let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.text.drain(..=end).collect();
                return serde_json::from_slice(&line).map_err(|error| error.to_string());
            }
            let frame = tokio::time::timeout(std::time::Duration::from_secs(30), self.body.frame()).await;
            match frame.map_err(|_| "no event within 30 s")? {
                Some(frame) => {
                    let frame = frame.map_err(|error| error.to_string())?;
                    self.text.extend_from_slice(&frame.into_data().unwrap_or_default());
                }
                None => return Err("the watch ended".to_owned()),
            }
        }
    }
}
