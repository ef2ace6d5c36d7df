//! The loop that keeps the NodeFeature object.

use std::time::Duration;

use hyper::Method;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::document::{document, says};
use super::{DesiredFeatures, NodeFeaturePlace, Owner};
use crate::backoff::Backoff;
use crate::cluster::{Call, Cluster, METADATA, encoded};
use crate::error::ApiError;
use crate::labels::Trouble;
use crate::view::NodeView;

/// Between looks at an object that is as it shall be, in multiples of [`crate::Timing::poll`]: whoever deletes it waits so long
/// for the next.
const LOOKS: u32 = 5;

/// Keeps a [`DesiredFeatures`] in a NodeFeature object.
#[derive(Debug)]
pub struct NodeFeatureKeeper {
    cluster: Cluster,
    place: NodeFeaturePlace,
    desired: watch::Receiver<Option<DesiredFeatures>>,
    publish: watch::Sender<NodeFeatureKept>,
    kept: NodeFeatureKept,
    backoff: Backoff,
    /// The uid of the Node that owns the object, as it was when that was written last.
    owner: Option<String>,
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFeatureKept {
    /// The latest generation that the object said. None: none yet.
    pub applied: Option<u64>,
    /// Why it isn't known that it does now.
    pub trouble: Option<Trouble>,
    /// Why the object goes without the owner reference that it should have.
    pub owner_refused: Option<String>,
    /// How often the object was created or replaced.
    pub writes: u64,
}

impl NodeFeatureKeeper {
    /// A keeper of that object, and what it will publish. Nothing is written while `desired` has none.
    pub fn new(
        cluster: Cluster,
        place: NodeFeaturePlace,
        desired: watch::Receiver<Option<DesiredFeatures>>,
    ) -> (NodeFeatureKeeper, watch::Receiver<NodeFeatureKept>) {
        let (publish, receiver) = watch::channel(NodeFeatureKept::default());
        let (kept, backoff) = (NodeFeatureKept::default(), Backoff::default());
        (NodeFeatureKeeper { cluster, place, desired, publish, kept, backoff, owner: None }, receiver)
    }

    /// Keeps until nobody desires any more. The object stays.
    pub async fn run(mut self) {
        let mut not_before = None;
        loop {
            let desired = self.desired.borrow_and_update().clone();
            let wake = match desired {
                None => None,
                // A new wish doesn't cut a pause short.
                Some(_) if not_before.is_some_and(|at| at > Instant::now()) => not_before,
                Some(desired) => {
                    let (pause, failed) = self.step(&desired).await;
                    let until = Instant::now() + pause;
                    not_before = failed.then_some(until);
                    Some(until)
                }
            };
            self.publish.send_if_modified(|known| {
                let changed = *known != self.kept;
                known.clone_from(&self.kept);
                changed
            });
            let wake = async {
                match wake {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.desired.changed() => if changed.is_err() { return },
                () = wake => {}
            }
        }
    }

    /// Looks, and writes where it differs; the pause after it, and whether it failed.
    async fn step(&mut self, desired: &DesiredFeatures) -> (Duration, bool) {
        match self.converge(desired).await {
            Ok(()) => {
                self.backoff.reset();
                self.kept.applied = Some(desired.generation);
                self.kept.trouble = None;
                (self.cluster.timing().poll * LOOKS, false)
            }
            Err(error) => {
                let trouble = Trouble::of(&error);
                if self.kept.trouble.as_ref().map(|it| it.reason) != Some(trouble.reason) {
                    let (reason, error) = (trouble.reason, &trouble.message);
                    tracing::warn!(reason, error, "the NodeFeature object is not written");
                }
                self.kept.trouble = Some(trouble);
                (self.backoff.after_failure(self.cluster.timing(), error.retry_after()), true)
            }
        }
    }

    async fn converge(&mut self, desired: &DesiredFeatures) -> Result<(), ApiError> {
        let found = self.read().await?;
        // An object that stands has the owner of before: with another Node it would have been deleted.
        if self.owner.is_some() || !self.wants_owner() {
            let wanted = document(&self.place, desired, self.owner.as_deref(), None);
            if found.as_ref().is_some_and(|found| says(found, &wanted)) {
                return Ok(());
            }
        }
        self.owner = self.node().await?;
        let version = found.as_ref().and_then(|it| it["metadata"]["resourceVersion"].as_str());
        let wanted = document(&self.place, desired, self.owner.as_deref(), version);
        if found.as_ref().is_some_and(|found| says(found, &wanted)) {
            return Ok(());
        }
        match self.write(&wanted, found.is_some()).await {
            // Admission may have rules of its own on who owns what.
            Err(error) if self.owner.is_some() && matches!(error.code(), Some(400 | 403 | 422)) => {
                let bare = document(&self.place, desired, None, version);
                self.write(&bare, found.is_some()).await?;
                self.go_without_owner(&error);
            }
            written => written?,
        }
        self.kept.writes += 1;
        Ok(())
    }

    fn wants_owner(&self) -> bool {
        self.place.owner == Owner::Node && self.kept.owner_refused.is_none()
    }

    /// The uid of the Node, if that is to own the object. Without the Node there is nothing to write: what is written for
    /// one that is gone would stay for ever.
    async fn node(&mut self) -> Result<Option<String>, ApiError> {
        if !self.wants_owner() {
            return Ok(None);
        }
        let path = format!("/api/v1/nodes/{}", encoded(&self.place.node));
        let call = Call { accept: METADATA, ..Call::new("get", "nodes", Method::GET, path) };
        match self.cluster.call(call).await {
            Ok(body) => {
                let view = NodeView::read(&body, &self.place.node);
                Ok(Some(view.map_err(|error| ApiError::Garbage { what: error.to_string() })?.uid))
            }
            Err(error) if error.code() == Some(403) => {
                self.go_without_owner(&error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn go_without_owner(&mut self, error: &ApiError) {
        tracing::warn!(error = error.chain(), "the NodeFeature object goes without an owner");
        self.kept.owner_refused = Some(error.chain());
        self.owner = None;
    }

    async fn read(&self) -> Result<Option<Value>, ApiError> {
        let call = Call::new(
            "get",
            "nodefeatures",
            Method::GET,
            object_path(&self.place.namespace, &self.place.name),
        );
        let body = match self.cluster.call(call).await {
            // Also where the definition is missing: creating it then says so.
            Err(error) if error.code() == Some(404) => return Ok(None),
            answer => answer?,
        };
        let found: Value =
            serde_json::from_slice(&body).map_err(|error| ApiError::Garbage { what: error.to_string() })?;
        if found["kind"] != "NodeFeature" || found["metadata"]["name"] != self.place.name.as_str() {
            return Err(ApiError::Garbage { what: format!("an object of kind {}", found["kind"]) });
        }
        Ok(Some(found))
    }

    async fn write(&self, object: &Value, exists: bool) -> Result<(), ApiError> {
        let NodeFeaturePlace { namespace, name, manager, .. } = &self.place;
        let (verb, method, path) = if exists {
            ("update", Method::PUT, object_path(namespace, name))
        } else {
            ("create", Method::POST, collection_path(namespace))
        };
        let path = format!("{path}?fieldManager={}", encoded(manager));
        let body = object.to_string().into_bytes();
        self.cluster.call(Call { body, ..Call::new(verb, "nodefeatures", method, path) }).await.map(|_| ())
    }
}

/// Deletes the object, as an uninstallation does. One that isn't there is no error; says whether it was.
///
/// # Errors
/// The failed request; nothing is tried again.
pub async fn remove_node_feature(cluster: &Cluster, namespace: &str, name: &str) -> Result<bool, ApiError> {
    let call = Call::new("delete", "nodefeatures", Method::DELETE, object_path(namespace, name));
    match cluster.call(call).await {
        Ok(_) => Ok(true),
        Err(error) if error.code() == Some(404) => Ok(false),
        Err(error) => Err(error),
    }
}

fn collection_path(namespace: &str) -> String {
    format!("/apis/nfd.k8s-sigs.io/v1alpha1/namespaces/{}/nodefeatures", encoded(namespace))
}

fn object_path(namespace: &str, name: &str) -> String {
    format!("{}/{}", collection_path(namespace), encoded(name))
}
