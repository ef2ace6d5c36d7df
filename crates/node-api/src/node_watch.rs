//! The own Node, watched: its metadata alone, one object, from one request that stays open.
//!
//! It writes nothing, and decides nothing about what it sees.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::Method;
use kube::client::Body;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::backoff::Backoff;
use crate::cluster::{Call, Cluster, METADATA, encoded};
use crate::error::ApiError;
use crate::view::{NodeView, Object};

/// The longest event that is read, in bytes.
const MAX_EVENT: usize = 4 << 20;

/// What is known of the own Node.
#[derive(Clone, Debug, Default)]
pub struct OwnNode {
    /// Its name.
    pub name: String,
    /// How it was seen last. None before the first look, and where there is no such Node.
    pub view: Option<Arc<NodeView>>,
    /// How often it was looked at anew, the watch aside. 0: never yet. 1 or more with neither view nor trouble: there is no
    /// such Node.
    pub looks: u64,
    /// Why the view may be old.
    pub trouble: Option<ApiError>,
}

/// Keeps an [`OwnNode`] up to date.
#[derive(Debug)]
pub struct NodeWatcher {
    cluster: Cluster,
    name: String,
    publish: watch::Sender<OwnNode>,
    backoff: Backoff,
    forbidden: bool,
}

/// Why a watch is over.
enum End {
    /// The server had enough; what was seen still holds.
    Over,
    /// The state that it went on from is too old: look anew.
    Expired,
    /// Watching isn't allowed here.
    Forbidden,
    Failed(ApiError),
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    object: Value,
}

impl NodeWatcher {
    /// A watcher of that Node, and what it will publish.
    pub fn new(cluster: Cluster, name: impl Into<String>) -> (NodeWatcher, watch::Receiver<OwnNode>) {
        let name = name.into();
        let (publish, seen) = watch::channel(OwnNode { name: name.clone(), ..OwnNode::default() });
        (NodeWatcher { cluster, name, publish, backoff: Backoff::default(), forbidden: false }, seen)
    }

    /// Watches until nobody looks any more.
    pub async fn run(mut self) {
        let publish = self.publish.clone();
        tokio::select! {
            () = publish.closed() => {}
            () = self.watch() => {}
        }
    }

    async fn watch(&mut self) {
        loop {
            let pause = match self.look().await {
                Ok(Some(version)) => self.follow(version).await,
                Ok(None) => Some(self.backoff.after_failure(self.cluster.timing(), None)),
                Err(error) => Some(self.failed(error)),
            };
            if let Some(pause) = pause {
                sleep(pause).await;
            }
        }
    }

    /// Asks for the Node; gives its version.
    async fn look(&self) -> Result<Option<String>, ApiError> {
        let path = format!("/api/v1/nodes/{}", encoded(&self.name));
        let call = Call { accept: METADATA, ..Call::new("get", "nodes", Method::GET, path) };
        let view = match self.cluster.call(call).await {
            Ok(body) => Some(NodeView::read(&body, &self.name).map_err(garbage)?),
            Err(error) if error.code() == Some(404) => None,
            Err(error) => return Err(error),
        };
        let version = view.as_ref().map(|view| view.resource_version.clone());
        self.publish.send_modify(|known| {
            known.looks += 1;
            if view.is_none() {
                known.trouble = None;
            }
            known.view = view.map(Arc::new);
        });
        Ok(version)
    }

    /// Watches from a version on until the Node has to be looked at anew, after the pause that it gives.
    async fn follow(&mut self, mut version: String) -> Option<Duration> {
        loop {
            let began = Instant::now();
            let end = self.follow_once(&mut version).await;
            let timing = *self.cluster.timing();
            match end {
                End::Over if began.elapsed() >= timing.max_retry => self.backoff.reset(),
                // A server that ends each watch at once is not to be asked without a pause.
                End::Over => sleep(self.backoff.after_failure(&timing, None)).await,
                End::Expired => return Some(self.backoff.after_failure(&timing, None)),
                End::Forbidden => {
                    if !std::mem::replace(&mut self.forbidden, true) {
                        let every = timing.poll;
                        tracing::warn!(
                            ?every,
                            "the own Node may not be watched, so it is looked at now and then"
                        );
                    }
                    self.set_trouble(None);
                    return Some(timing.poll);
                }
                End::Failed(error) => return Some(self.failed(error)),
            }
        }
    }

    async fn follow_once(&mut self, version: &mut String) -> End {
        // No timeout is asked for: the server's own (30 to 60 minutes) costs the fewest requests.
        let path = format!(
            "/api/v1/nodes?watch=true&allowWatchBookmarks=true&fieldSelector=metadata.name%3D{}&resourceVersion={}",
            encoded(&self.name),
            encoded(version),
        );
        let call = Call { accept: METADATA, ..Call::new("watch", "nodes", Method::GET, path) };
        let mut body = match self.cluster.open(call).await {
            Ok(body) => body,
            Err(error) => {
                return match error.code() {
                    Some(410) => End::Expired,
                    Some(403 | 405) => End::Forbidden,
                    _ => End::Failed(error),
                };
            }
        };
        self.forbidden = false;
        self.set_trouble(None);
        let mut text = Vec::new();
        loop {
            let chunk = match self.chunk(&mut body).await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return End::Over,
                Err(error) => return End::Failed(error),
            };
            text.extend_from_slice(&chunk);
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                if let Some(end) = self.take(&line, version) {
                    return end;
                }
            }
            if text.len() > MAX_EVENT {
                return End::Failed(ApiError::Garbage {
                    what: format!("an event of over {MAX_EVENT} bytes"),
                });
            }
        }
    }

    /// The next piece of a watch; none at its end.
    async fn chunk(&self, body: &mut Body) -> Result<Option<Vec<u8>>, ApiError> {
        let idle = self.cluster.timing().watch_idle;
        match timeout(idle, body.frame()).await {
            // Silence is no failure of the server's: a half-open connection looks the same.
            Err(_) => Ok(None),
            Ok(None) => Ok(None),
            Ok(Some(Ok(frame))) => Ok(Some(frame.into_data().map(|data| data.to_vec()).unwrap_or_default())),
            Ok(Some(Err(source))) => Err(ApiError::Unreachable(Arc::new(source))),
        }
    }

    /// Takes an event in. An end, if it ends the watch.
    fn take(&mut self, line: &[u8], version: &mut String) -> Option<End> {
        let event: Event = match serde_json::from_slice(line) {
            Ok(event) => event,
            Err(error) => return Some(End::Failed(garbage(error))),
        };
        if event.kind == "ERROR" {
            let code = event.object["code"].as_u64().unwrap_or_default();
            if code == 410 {
                return Some(End::Expired);
            }
            let what = format!("a watch that ended with {}", event.object);
            return Some(End::Failed(ApiError::Garbage { what }));
        }
        let object = match Object::deserialize(event.object) {
            Ok(object) => object,
            Err(error) => return Some(End::Failed(garbage(error))),
        };
        let now = object.resource_version().to_owned();
        match event.kind.as_str() {
            "ADDED" | "MODIFIED" => match NodeView::of(object, &self.name) {
                Ok(view) => self.publish.send_modify(|known| known.view = Some(Arc::new(view))),
                Err(error) => return Some(End::Failed(garbage(error))),
            },
            "DELETED" => self.publish.send_modify(|known| known.view = None),
            // A bookmark, or what a later server adds.
            _ => {}
        }
        if !now.is_empty() {
            *version = now;
        }
        self.backoff.reset();
        None
    }

    fn failed(&mut self, error: ApiError) -> Duration {
        let pause = self.backoff.after_failure(self.cluster.timing(), error.retry_after());
        self.set_trouble(Some(error));
        pause
    }

    /// Wakes nobody for a trouble that is known.
    fn set_trouble(&self, trouble: Option<ApiError>) {
        self.publish.send_if_modified(|known| {
            let before = known.trouble.as_ref().map(ApiError::reason);
            let now = trouble.as_ref().map(ApiError::reason);
            match &trouble {
                Some(error) if before != now => {
                    let (reason, error) = (error.reason(), error.chain());
                    tracing::warn!(reason, error, "the own Node cannot be watched");
                }
                None if before.is_some() => tracing::info!("the own Node is watched again"),
                _ => {}
            }
            known.trouble = trouble;
            before != now
        });
    }
}

fn garbage(error: impl std::error::Error) -> ApiError {
    let mut what = error.to_string();
    if let Some(source) = error.source() {
        what = format!("{what}: {source}");
    }
    ApiError::Garbage { what }
}
