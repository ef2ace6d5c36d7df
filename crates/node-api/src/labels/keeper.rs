//! The loop that keeps labels and annotations on the own Node.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::apply::apply;
use super::{Desired, Kept, Trouble};
use crate::backoff::Backoff;
use crate::cluster::Cluster;
use crate::difference::Difference;
use crate::error::ApiError;
use crate::event::{Events, Happening, Kind};
use crate::field::Field;
use crate::node_watch::OwnNode;
use crate::refusal::{Refusal, refused};
use crate::restoring::Restoring;
use crate::view::NodeView;

/// Requests in a row, each of which left out more refused keys, before it pauses.
const MAX_ROUNDS: usize = 16;

/// Keeps a [`Desired`] on the own Node.
#[derive(Debug)]
pub struct LabelKeeper {
    cluster: Cluster,
    node: watch::Receiver<OwnNode>,
    manager: String,
    desired: watch::Receiver<Option<Desired>>,
    events: Option<Events>,
    publish: watch::Sender<Kept>,
    kept: Kept,
    latest: Option<Latest>,
    refused: BTreeMap<Field, Refused>,
    settled: Option<Settled>,
    /// For that generation a key is to be set that another held until now: if that goes to and fro, it must not go fast.
    contested: Option<u64>,
    restoring: Restoring,
    backoff: Backoff,
    not_before: Option<Instant>,
}

/// The newest state of the Node that is known, by the watch or by an answer to an apply.
#[derive(Debug)]
struct Latest {
    view: Arc<NodeView>,
    looks: u64,
}

/// A key that is left out.
#[derive(Debug)]
struct Refused {
    why: Refusal,
    value: String,
    /// When it is worth another try, if another's ownership isn't what is in the way.
    again: Instant,
}

/// What the Node showed when it was as it shall be.
#[derive(Debug, PartialEq)]
struct Settled {
    uid: String,
    wanted: BTreeMap<Field, String>,
}

impl LabelKeeper {
    /// A keeper as field manager `manager` of the Node that `node` shows, and what it will publish. Nothing is written while
    /// `desired` has none. Refused keys become events of the Node, if there is somebody to write them.
    pub fn new(
        cluster: Cluster,
        node: watch::Receiver<OwnNode>,
        manager: impl Into<String>,
        desired: watch::Receiver<Option<Desired>>,
        events: Option<Events>,
    ) -> (LabelKeeper, watch::Receiver<Kept>) {
        let (publish, receiver) = watch::channel(Kept::default());
        let keeper = LabelKeeper {
            cluster,
            node,
            manager: manager.into(),
            desired,
            events,
            publish,
            kept: Kept::default(),
            latest: None,
            refused: BTreeMap::new(),
            settled: None,
            contested: None,
            restoring: Restoring::default(),
            backoff: Backoff::default(),
            not_before: None,
        };
        (keeper, receiver)
    }

    /// Keeps until nobody desires or watches any more. What is on the Node stays there.
    pub async fn run(mut self) {
        loop {
            let wake = self.step().await;
            self.tell();
            let wake = async {
                match wake {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let goes_on = tokio::select! {
                changed = self.desired.changed() => changed.is_ok(),
                changed = self.node.changed() => changed.is_ok(),
                () = wake => true,
            };
            if !goes_on {
                return;
            }
        }
    }

    /// Does what can be done now, and says when there is something to do next.
    async fn step(&mut self) -> Option<Instant> {
        let node = self.node.borrow_and_update().clone();
        self.adopt(&node);
        let desired = self.desired.borrow_and_update().clone()?;
        let fields = desired.fields();
        for _ in 0..MAX_ROUNDS {
            let Some(latest) = &self.latest else {
                self.kept.trouble = Some(absent(&node));
                return None;
            };
            let view = latest.view.clone();
            if self.readmit(&fields, &view) {
                self.contested = Some(desired.generation);
            }
            let mut wanted = fields.clone();
            wanted.retain(|field, _| !self.refused.contains_key(field));
            let difference = Difference::between(&view, &wanted, &self.manager);
            if difference.is_empty() {
                return self.settle(desired.generation, view.uid.clone(), wanted, &node);
            }
            let now = Instant::now();
            if let Some(at) = self.not_before.filter(|at| *at > now) {
                return Some(at);
            }
            let lost = self.settled.as_ref().is_some_and(|it| it.uid == view.uid && it.wanted == wanted);
            let restores = lost || self.contested == Some(desired.generation);
            if restores {
                let due = self.restoring.due(now, self.cluster.timing());
                if due > now {
                    let keys = difference.missing.len().max(1);
                    let message = format!("others took or changed {keys} of its keys again and again");
                    self.kept.trouble = Some(Trouble { reason: "restoring-slowly", message });
                    return Some(due);
                }
            }
            match apply(&self.cluster, (&node.name, &view.uid), &self.manager, &wanted).await {
                Ok(after) => {
                    let lacking = Difference::between(&after, &wanted, &self.manager);
                    let looks = latest_looks(self.latest.as_ref());
                    self.latest = Some(Latest { view: Arc::new(after), looks });
                    if !lacking.is_empty() {
                        let message = "the Node doesn't show what was applied".to_owned();
                        return Some(self.pause(Trouble { reason: "apply-undone", message }, None));
                    }
                    if restores {
                        self.restoring.made(now, self.cluster.timing());
                        self.kept.restored += difference.missing.len() as u64;
                        let keys: Vec<String> = difference.missing.iter().map(Field::to_string).collect();
                        tracing::warn!(?keys, "put back what another took or changed");
                    }
                    self.settled = None;
                }
                Err(error) => {
                    if !self.leave_out(&error, &wanted) {
                        return Some(self.pause(Trouble::of(&error), error.retry_after()));
                    }
                    if restores {
                        self.restoring.made(now, self.cluster.timing());
                    }
                    // The Node is as it was, but for the keys that it is no longer to have of us.
                    self.settled = None;
                }
            }
        }
        let message = format!("keys were refused in {MAX_ROUNDS} requests in a row");
        Some(self.pause(Trouble { reason: "api-refused", message }, None))
    }

    /// Takes the watch's view, unless an apply's answer is newer. After a new look, the view counts in any case: a cluster
    /// that was restored from a backup counts its versions anew.
    fn adopt(&mut self, node: &OwnNode) {
        let Some(view) = &node.view else {
            self.latest = None;
            return;
        };
        let older = |own: &Latest| own.looks == node.looks && !view.at_least(&own.view);
        if !self.latest.as_ref().is_some_and(older) {
            self.latest = Some(Latest { view: view.clone(), looks: node.looks });
        }
    }

    /// Tries refused keys again: when they are wanted with another value, when the Node shows them free, and after a while.
    /// Says whether any became free.
    fn readmit(&mut self, fields: &BTreeMap<Field, String>, view: &NodeView) -> bool {
        let (now, manager) = (Instant::now(), &self.manager);
        let mut freed = false;
        self.refused.retain(|field, refused| {
            if fields.get(field) != Some(&refused.value) {
                return false;
            }
            match &refused.why {
                Refusal::Owned { .. } => {
                    let stays =
                        view.held_by_others(field, manager) && view.fields.get(field) != Some(&refused.value);
                    freed |= !stays;
                    stays
                }
                Refusal::Denied { .. } => refused.again > now,
            }
        });
        freed
    }

    /// Everything is as it shall be.
    fn settle(
        &mut self,
        generation: u64,
        uid: String,
        wanted: BTreeMap<Field, String>,
        node: &OwnNode,
    ) -> Option<Instant> {
        self.backoff.reset();
        self.not_before = None;
        self.contested = None;
        self.settled = Some(Settled { uid, wanted });
        if self.kept.applied.replace(generation) != Some(generation) {
            tracing::info!(generation, refused = self.refused.len(), "the Node shows its labels");
        }
        self.kept.trouble = node.trouble.as_ref().map(Trouble::of);
        let denied = self.refused.values().filter(|it| matches!(it.why, Refusal::Denied { .. }));
        denied.map(|it| it.again).min()
    }

    /// Leaves out the keys that an answer refuses. False: it refuses none.
    fn leave_out(&mut self, error: &ApiError, wanted: &BTreeMap<Field, String>) -> bool {
        let keys = error.answer().map(|answer| refused(answer, wanted)).unwrap_or_default();
        let again = Instant::now() + self.cluster.timing().refused_retry;
        let any = !keys.is_empty();
        for (field, why) in keys {
            let Some(value) = wanted.get(&field).cloned() else { continue };
            // A try again that is refused again is no news.
            if self.kept.refused.get(&field) != Some(&why) {
                tracing::warn!(key = %field, reason = %why, "a key of the Node is left out");
            }
            if let Some(events) = &self.events {
                let reason = if matches!(why, Refusal::Owned { .. }) { "KeyConflict" } else { "KeyRefused" };
                let note = format!("{field} is not set to {value:?}: {why}");
                events.tell(Happening { kind: Kind::Warning, reason, action: "Apply", note });
            }
            self.refused.insert(field, Refused { why, value, again });
        }
        any
    }

    /// Pauses after a failure; gives its end.
    fn pause(&mut self, trouble: Trouble, retry_after: Option<std::time::Duration>) -> Instant {
        let pause = self.backoff.after_failure(self.cluster.timing(), retry_after);
        if self.kept.trouble.as_ref().map(|it| it.reason) != Some(trouble.reason) {
            tracing::warn!(reason = trouble.reason, error = %trouble, ?pause, "the Node's labels are not set");
        }
        self.kept.trouble = Some(trouble);
        let until = Instant::now() + pause;
        self.not_before = Some(until);
        until
    }

    fn tell(&mut self) {
        self.kept.refused = self.refused.iter().map(|(field, it)| (field.clone(), it.why.clone())).collect();
        let kept = &self.kept;
        self.publish.send_if_modified(|known| {
            let changed = known != kept;
            if changed {
                known.clone_from(kept);
            }
            changed
        });
    }
}

fn latest_looks(latest: Option<&Latest>) -> u64 {
    latest.map(|latest| latest.looks).unwrap_or_default()
}

/// Why there is no Node to write to.
fn absent(node: &OwnNode) -> Trouble {
    match &node.trouble {
        Some(error) => Trouble::of(error),
        None if node.looks == 0 => {
            Trouble { reason: "starting", message: "the Node wasn't looked at yet".to_owned() }
        }
        None => {
            let message = format!("there is no Node {}", node.name);
            Trouble { reason: "node-not-found", message }
        }
    }
}
