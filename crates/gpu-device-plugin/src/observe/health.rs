//! What is learnt of the GPUs' health, handed to the ledger; what comes of it, published and kept; and what people ask.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gpu_health::xid::{self, XidClass};
use gpu_health::{Cause, Evidence, HealthChecks, Ledger, Subject, Transition};
use gpu_model::{GpuUuid, Health};
use node_contract::{HealthAnswer, HealthRequest, HealthVerb};
use tokio::sync::{mpsc, watch};

use super::{Question, Watching};
use crate::health::{Ask, Kept, instant_of, now};

/// Between two probes that the ledger asks for; what it asks for may lie in the past.
const SHORTEST: Duration = Duration::from_secs(1);

/// The observer's part in health.
#[derive(Debug)]
pub struct Healths {
    /// What is known.
    pub ledger: Ledger,
    /// What XIDs mean.
    pub checks: HealthChecks,
    /// What the keeper keeps.
    pub kept: watch::Sender<Kept>,
    /// What the keeper asks.
    pub asks: mpsc::Receiver<Ask>,
    /// What brought each GPU's health about.
    pub causes: BTreeMap<GpuUuid, Cause>,
    /// When the last probe was asked for.
    pub probed: Option<Instant>,
}

impl Healths {
    /// When the ledger changes by itself, if ever.
    pub(super) fn due(&self) -> Option<Instant> {
        self.ledger.next_change(now()).map(instant_of)
    }

    /// When a probe would tell more than at another time, if ever.
    pub(super) fn probe_due(&self) -> Option<Instant> {
        let due = instant_of(self.ledger.next_probe()?);
        Some(self.probed.map_or(due, |probed| due.max(probed + SHORTEST)))
    }

    fn keep(&self) {
        self.kept.send_if_modified(|kept| {
            let is_news = kept.ledger != *self.ledger.saved();
            if is_news {
                kept.ledger.clone_from(self.ledger.saved());
            }
            is_news
        });
    }

    fn answer(&self, request: &HealthRequest, refusal: Option<String>) {
        let answer = HealthAnswer { id: request.id().to_owned(), refusal };
        self.kept.send_modify(|kept| {
            kept.ledger.clone_from(self.ledger.saved());
            answer.remember(&mut kept.answers);
        });
    }
}

impl Watching {
    /// Judges XIDs as a config says. It is told where that is news.
    pub(super) fn judge_by(&mut self, xids: &BTreeMap<u64, XidClass>) {
        let checks = self.with.health.checks.with_file(xids.clone());
        if checks != self.with.health.checks {
            let changed: Vec<String> = xids.iter().map(|(xid, class)| format!("{xid}={class}")).collect();
            tracing::info!(xids = changed.join(","), "the config file gives XIDs their classes");
            self.with.health.ledger.judge_by(checks.clone());
            self.with.health.checks = checks;
        }
    }

    pub(super) fn learn(&mut self, evidence: &[Evidence]) {
        let now = now();
        let mut changes = Vec::new();
        for evidence in evidence {
            changes.extend(self.with.health.ledger.take(evidence, now));
        }
        self.take_changes(changes);
    }

    pub(super) fn pass_time(&mut self) {
        let changes = self.with.health.ledger.pass_time(now());
        self.take_changes(changes);
    }

    pub(super) fn take_xid(&mut self, gpu: GpuUuid, xid: u64, gpu_instance: Option<u32>) {
        let class = self.with.health.checks.ruling(xid).class;
        self.with.metrics.xid(xid, class);
        let meaning = xid::row_of(xid).map_or("not in the table", |row| row.meaning);
        let class = class.map_or("unknown", XidClass::name);
        match class {
            "application" | "notice" => tracing::info!(%gpu, xid, meaning, class, gpu_instance, "XID"),
            _ => tracing::warn!(%gpu, xid, meaning, class, gpu_instance, "XID"),
        }
        self.learn(&[Evidence::Xid { gpu, xid, gpu_instance }]);
        // Whatever the number says, the driver's own recovery action says more.
        self.want(Question::Probe);
    }

    /// Does what a person wants, or takes over what people said to the process before.
    pub(super) fn take_ask(&mut self, ask: Ask) {
        match ask {
            Ask::Request(request) => self.take_request(&request),
            Ask::Adopt { theirs, done } => {
                let changes = self.with.health.ledger.adopt_words(&theirs.ledger, now());
                self.with.health.kept.send_modify(|kept| {
                    let news = theirs.answers.into_iter();
                    let known: Vec<String> = kept.answers.iter().map(|answer| answer.id.clone()).collect();
                    news.filter(|answer| !known.contains(&answer.id))
                        .for_each(|answer| answer.remember(&mut kept.answers));
                });
                self.take_changes(changes);
                // The keeper may have gone, and with it who waits.
                let _ = done.send(());
            }
        }
    }

    fn take_request(&mut self, request: &HealthRequest) {
        let HealthRequest { verb, subject, .. } = request;
        let word = request.word();
        tracing::info!(%subject, ?verb, who = word.who, why = word.why, "a person overrules");
        let ledger = &mut self.with.health.ledger;
        let done = match verb {
            HealthVerb::Fence => ledger.fence(subject, word, now()),
            HealthVerb::Clear => ledger.clear(subject, word, now()),
        };
        match done {
            Ok(changes) => {
                self.with.health.answer(request, None);
                self.take_changes(changes);
            }
            Err(error) => {
                tracing::warn!(%error, "the request is refused");
                self.with.health.answer(request, Some(error.to_string()));
            }
        }
        // How it is now, rather than in a while.
        self.want(Question::Probe);
    }

    fn take_changes(&mut self, mut changes: Vec<Transition>) {
        changes.extend(self.settle_leases());
        for change in &changes {
            tell(change);
            self.with.metrics.transition(change);
            if change.subject.gpu_instance.is_none() {
                self.with.health.causes.insert(change.subject.gpu.clone(), change.cause);
            }
        }
        self.with.health.keep();
        self.with.metrics.health(&self.with.health.ledger.records());
        self.publish();
    }
}

fn tell(change: &Transition) {
    let Transition { subject: Subject { gpu, gpu_instance }, from, to, cause, .. } = change;
    let todo = to.reasons().first().map(gpu_health::what_to_do);
    match (from, to) {
        (None, _) => tracing::info!(%gpu, health = %to, todo, "GPU found"),
        (Some(from), Health::Healthy) => {
            tracing::info!(%gpu, gpu_instance, %from, to = %to, %cause, "GPU health changed");
        }
        (Some(from), _) => {
            tracing::warn!(%gpu, gpu_instance, %from, to = %to, %cause, todo, "GPU health changed");
        }
    }
}
