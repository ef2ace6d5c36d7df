//! The outputs in the Kubernetes API: labels of the own Node, and the NodeFeature object. What is kept there, and how, is
//! `node-api`'s; here is what.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use node_api::{
    Cluster, Desired, DesiredFeatures, Events, Features, Kept, LabelKeeper, NodeFeatureKeeper,
    NodeFeatureKept, NodeFeaturePlace, NodeWatcher, OwnNode, Reporter, Timing, Trouble,
};
use tokio::sync::watch::{self, Receiver, Sender};

use super::{features, texts};
use crate::config::{ClusterOutputs, NodeFeatureOutput};
use crate::discovery::Shown;
use crate::facts::Face;
use crate::metrics::Metrics;

/// The field manager, by which exactly our keys are known.
pub const MANAGER: &str = "gantry-feature-discovery";

/// Who events are from.
const REPORTER: &str = "gantry.dev/gpu-feature-discovery";

/// Says why labels are those of before, while the driver is away.
const ANNOTATION: &str = "gantry.dev/gpu-feature-discovery.driver";

/// Speaks to the API server by these settings.
pub fn connect(settings: &ClusterOutputs) -> Cluster {
    Cluster::connect(settings.access.clone(), Timing::default())
}

/// Where the NodeFeature object is, if one is kept.
pub fn place(settings: &ClusterOutputs) -> Option<NodeFeaturePlace> {
    let NodeFeatureOutput { namespace, name, owner } = settings.node_feature.clone()?;
    let node = settings.node_name.clone();
    Some(NodeFeaturePlace { namespace, name, node, manager: MANAGER.to_owned(), owner })
}

/// What the Node is to show.
pub fn on_node(shown: &Shown, face: Face) -> Desired {
    let away = shown.away.filter(|_| face == Face::Native);
    let annotations = away.map(|code| (ANNOTATION.to_owned(), code.to_owned())).into_iter().collect();
    Desired { generation: shown.generation, labels: texts(&shown.labels), annotations }
}

/// What the NodeFeature object is to say: NVIDIA's has labels alone.
pub fn in_object(shown: &Shown, face: Face) -> DesiredFeatures {
    let features = match face {
        Face::Native => features::features(shown.driver.as_ref()),
        Face::Compat => Features::default(),
    };
    DesiredFeatures { generation: shown.generation, labels: texts(&shown.labels), features }
}

/// Starts what keeps them, and gives what is seen of the own Node, if it is watched.
pub fn start(
    settings: &ClusterOutputs,
    face: Face,
    shown: &Receiver<Option<Arc<Shown>>>,
    metrics: &Metrics,
    runtime: &daemon::Runtime,
) -> Result<Option<Receiver<OwnNode>>, prometheus::Error> {
    let cluster = connect(settings);
    metrics.requests(&runtime.registry(), cluster.requests().clone())?;
    let mut watched = None;
    if settings.node {
        let (watcher, node) = NodeWatcher::new(cluster.clone(), &settings.node_name);
        watched = Some(node.clone());
        let reporter = Reporter::new(REPORTER, &settings.instance);
        let (events, writer) = Events::new(cluster.clone(), &settings.node_name, reporter);
        let (desire, desired) = watch::channel(None);
        let (keeper, kept) = LabelKeeper::new(cluster.clone(), node, MANAGER, desired, Some(events));
        until_stopped(runtime, "node-watch", watcher.run());
        until_stopped(runtime, "events", writer.run());
        until_stopped(runtime, "node", keeper.run());
        until_stopped(runtime, "node-wishes", wish(shown.clone(), desire, move |shown| on_node(shown, face)));
        let (component, metrics) = (runtime.readiness().component("node"), metrics.clone());
        until_stopped(runtime, "node-state", follow(kept, move |kept| tell_node(kept, &component, &metrics)));
    }
    if let Some(place) = place(settings) {
        let (desire, desired) = watch::channel(None);
        let (keeper, kept) = NodeFeatureKeeper::new(cluster, place, desired);
        until_stopped(runtime, "nodefeature", keeper.run());
        let wishes = wish(shown.clone(), desire, move |shown| in_object(shown, face));
        until_stopped(runtime, "nodefeature-wishes", wishes);
        let component = runtime.readiness().component("nodefeature");
        let state = follow(kept, move |kept| tell_object(kept, &component));
        until_stopped(runtime, "nodefeature-state", state);
    }
    Ok(watched)
}

/// Runs what never ends by itself until the daemon does.
fn until_stopped(
    runtime: &daemon::Runtime,
    name: &'static str,
    work: impl Future<Output = ()> + Send + 'static,
) {
    runtime.spawn_until_stopped(name, async move {
        work.await;
        Ok::<(), Infallible>(())
    });
}

/// Turns what there is to show into wishes.
async fn wish<T>(
    mut shown: Receiver<Option<Arc<Shown>>>,
    desire: Sender<Option<T>>,
    wish: impl Fn(&Shown) -> T,
) {
    loop {
        let newest = shown.borrow_and_update().clone();
        if let Some(newest) = newest {
            desire.send_replace(Some(wish(&newest)));
        }
        if shown.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

async fn follow<T: Clone>(mut kept: Receiver<T>, tell: impl Fn(&T)) {
    loop {
        let newest = kept.borrow_and_update().clone();
        tell(&newest);
        if kept.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

fn tell_node(kept: &Kept, component: &daemon::Component, metrics: &Metrics) {
    metrics.node(kept.refused.len(), kept.restored);
    let refused: BTreeMap<_, _> = kept.refused.iter().collect();
    match (&kept.trouble, kept.applied) {
        (Some(Trouble { reason, message }), _) => component.not_ready(*reason, message),
        (None, None) => component.not_ready("not-yet", "the Node does not have the labels yet"),
        (None, Some(_)) if !refused.is_empty() => {
            let refused: Vec<String> = refused.iter().map(|(field, why)| format!("{field}: {why}")).collect();
            component.ready_but(format!("left out: {}", refused.join("; ")));
        }
        (None, Some(_)) => component.ready(),
    }
}

fn tell_object(kept: &NodeFeatureKept, component: &daemon::Component) {
    match (&kept.trouble, kept.applied, &kept.owner_refused) {
        (Some(Trouble { reason, message }), ..) => component.not_ready(*reason, message),
        (None, None, _) => {
            component.not_ready("not-yet", "the NodeFeature object does not say the labels yet")
        }
        (None, Some(_), Some(why)) => component.ready_but(format!("without an owner reference: {why}")),
        (None, Some(_), None) => component.ready(),
    }
}
