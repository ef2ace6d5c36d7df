//! What is known of one GPU with its instances, and what each kind of evidence does to it.
//!
//! It knows nothing of other GPUs: whether the breaker lets a GPU go is asked of whoever calls.

use std::collections::BTreeMap;
use std::time::Duration;

use gpu_model::{Health, HealthReason};
use serde::{Deserialize, Serialize};

use crate::evidence::{Condition, Moment, Recovery};
use crate::level::Level;
use crate::xid::{Proof, XidClass, XidScope};
use crate::{HealthChecks, Settings};

/// How long a GPU that cannot be asked keeps its last projection towards the kubelet.
pub const GRACE: Duration = Duration::from_secs(60);

/// How long an XID leaves a GPU Degraded after the last of its kind.
pub const DEGRADED_FOR: Duration = Duration::from_secs(600);

/// How long a GPU has to be slowed down before it is Degraded.
pub const SLOW_FOR: Duration = Duration::from_secs(300);

/// XIDs that nobody knows, within [`DEGRADED_FOR`], that make a GPU Unhealthy.
const MAX_UNKNOWN_XIDS: usize = 3;

/// The highest GPU instance id that is believed: a GPU has at most 8 instances, with ids below 16.
const MAX_INSTANCE: u32 = 63;

/// One GPU.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub own: Level,
    pub instances: BTreeMap<u32, Level>,
    silence: Option<Silence>,
    /// What the driver wanted last; none where it does not tell.
    recovery: Option<Recovery>,
    /// Whether it was away since it was last there.
    was_away: bool,
    /// Readings that a person accepted, for as long as they stay the same.
    accepted: Vec<HealthReason>,
    /// Since when something slows it down.
    slow_since: Option<Duration>,
    unknown_xids: Vec<Duration>,
    /// The most NVLinks that were ever up in this boot.
    links_most: u32,
    /// Whether somebody has it for himself, or it was not seen anew since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_leased: bool,
}

/// A GPU that cannot be asked, or of which one look said something bad that the breaker wants to hear again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Silence {
    reason: HealthReason,
    since: Duration,
    /// Whether a later look found the same.
    confirmed: bool,
    expired: bool,
}

/// What is read of one kind: which reasons are of it, and, if it was told, the one that holds or none.
type Reading = (fn(&HealthReason) -> bool, Option<Option<HealthReason>>);

impl Entry {
    /// One that nothing is held against, since `since`.
    pub fn new(since: Moment) -> Entry {
        Entry { own: Level::new(since), ..Entry::default() }
    }

    /// What is known of the GPU itself, its instances apart.
    pub fn health(&self, off: bool) -> Health {
        if self.is_leased && self.own.fence.is_none() {
            return Health::Unhealthy { reason: HealthReason::Reconfiguring };
        }
        self.beneath(off)
    }

    /// The same, whoever has leased it.
    pub fn beneath(&self, off: bool) -> Health {
        let silent = self.silence.as_ref();
        let reason = |silence: &Silence| silence.reason.clone();
        match (self.own.health(off), silent) {
            (health @ Health::Unhealthy { .. }, _) => health,
            (_, Some(silence)) if silence.expired && off => {
                Health::Degraded { reasons: vec![reason(silence)] }
            }
            (_, Some(silence)) if silence.expired => Health::Unhealthy { reason: reason(silence) },
            (_, Some(silence)) => Health::Unknown { reason: reason(silence) },
            (health, None) => health,
        }
    }

    /// What it waits for, in words.
    pub fn awaits(&self) -> Option<String> {
        if self.is_leased && self.own.fence.is_none() {
            return Some("the end of its lease, and to be seen anew".to_owned());
        }
        self.own.awaits().or_else(|| self.silence.as_ref().map(|_| "an answer".to_owned()))
    }

    /// The driver lists it, with these instances.
    pub fn listed(&mut self, instances: Option<&[u32]>) {
        // It is there and can be named, which says nothing of what a probe read.
        let is_read = |silence: &Silence| {
            matches!(silence.reason, HealthReason::RecoveryWanted { .. } | HealthReason::RemapFailed)
        };
        self.silence = self.silence.take().filter(is_read);
        self.is_back();
        if let Some(present) = instances {
            // An instance that was destroyed takes what was held against it along: its memory is handed out anew.
            self.instances.retain(|id, _| present.contains(id));
        }
    }

    /// A call on it failed in a way that says nothing of it for good, or nothing could be asked.
    pub fn unknown(&mut self, reason: HealthReason, now: Duration, spacing: Duration) {
        self.bad_probe();
        self.was_away |= reason == HealthReason::NoDriver;
        self.doubt(reason, now, spacing);
    }

    /// Notes a doubt; the first reason stays.
    fn doubt(&mut self, reason: HealthReason, now: Duration, spacing: Duration) {
        match &mut self.silence {
            Some(silence) => silence.confirmed |= now.saturating_sub(silence.since) >= spacing,
            None => {
                self.silence = Some(Silence { reason, since: now, confirmed: false, expired: false });
            }
        }
    }

    /// Something that is not an XID makes it Unhealthy: at once if `admits` says so, or when a later look says the same.
    pub fn condemn(
        &mut self,
        reason: HealthReason,
        needs: Proof,
        now: Duration,
        spacing: Duration,
        admits: impl FnOnce(&HealthReason) -> bool,
    ) {
        self.bad_probe();
        self.was_away |= matches!(reason, HealthReason::Lost | HealthReason::Vanished);
        let is_heard = self.silence.as_ref().is_some_and(|silence| {
            silence.expired || (silence.reason == reason && now.saturating_sub(silence.since) >= spacing)
        });
        if !self.own.is_condemned() && !is_heard && !admits(&reason) {
            return self.doubt(reason, now, spacing);
        }
        self.silence = None;
        if matches!(reason, HealthReason::RecoveryWanted { .. }) {
            // The driver wants one thing at a time.
            self.own.forget(|held| matches!(held, HealthReason::RecoveryWanted { .. }) && *held != reason);
        }
        self.own.condemn(reason, needs);
    }

    /// The driver refuses it until a reset, as if it asked for one.
    pub fn refused_until_reset(&mut self) {
        self.recovery = Some(Recovery { action: Some("reset".to_owned()), is_reset: true });
    }

    /// A probe was answered. `admits` speaks for the breaker.
    pub fn answered(
        &mut self,
        condition: &Condition,
        now: Duration,
        spacing: Duration,
        admits: impl FnOnce(&HealthReason) -> bool,
    ) {
        let wanted = condition.recovery.as_ref().and_then(|recovery| recovery.action.clone());
        let wanted = wanted.map(|action| (HealthReason::RecoveryWanted { action }, Proof::DriverContent));
        let failed =
            (condition.remap_failed == Some(true)).then_some((HealthReason::RemapFailed, Proof::Boot));
        self.links_most = self.links_most.max(condition.links_up.unwrap_or(0));
        self.accept_no_more(condition);
        self.read(condition, now);
        if wanted.is_none() {
            // A reset that was asked for, and is asked for no more, was done.
            self.was_away |= self.recovery.as_ref().is_some_and(|last| last.is_reset);
        }
        self.recovery.clone_from(&condition.recovery);
        let mut graves = wanted.into_iter().chain(failed);
        match graves.find(|(reason, _)| !self.accepted.contains(reason)) {
            Some((reason, needs)) => self.condemn(reason, needs, now, spacing, admits),
            None => {
                self.silence = None;
                self.prove(condition);
                self.levels().for_each(|level| level.good_probe(now, spacing));
            }
        }
    }

    /// What its answer proves.
    fn prove(&mut self, condition: &Condition) {
        let is_content = condition.recovery.as_ref().is_some_and(|recovery| recovery.action.is_none());
        if is_content {
            self.levels().for_each(|level| level.prove(Proof::DriverContent));
        }
        self.is_back();
    }

    /// It is there: if it was away, it was reset.
    fn is_back(&mut self) {
        if std::mem::take(&mut self.was_away) {
            self.levels().for_each(|level| level.prove(Proof::Reset));
        }
    }

    /// Another driver was loaded, and with it the GPUs were reset.
    pub fn driver_changed(&mut self) {
        self.was_away = true;
    }

    /// A reading that a person accepted counts again once it was another one.
    fn accept_no_more(&mut self, condition: &Condition) {
        let recovery = condition.recovery.as_ref().map(|recovery| recovery.action.as_deref());
        let links_down = self.links_down(condition);
        self.accepted.retain(|reason| match reason {
            HealthReason::RecoveryWanted { action } => recovery.is_none_or(|wanted| wanted == Some(action)),
            HealthReason::RemapFailed => condition.remap_failed != Some(false),
            HealthReason::RemapPending => condition.remap_pending != Some(false),
            HealthReason::SramErrors => condition.sram_errors != Some(false),
            HealthReason::NvlinkDown { links } => links_down.is_none_or(|down| down == *links),
            HealthReason::Fabric { state } => condition.fabric.as_ref().is_none_or(|now| now == state),
            HealthReason::Slowdown { by } => condition.slowdown.as_ref().is_none_or(|now| now == by),
            _ => false,
        });
    }

    /// How many NVLinks are down of those that were up.
    fn links_down(&self, condition: &Condition) -> Option<u32> {
        condition.links_up.map(|up| self.links_most.saturating_sub(up))
    }

    /// Takes over what makes it Degraded as long as it is read.
    fn read(&mut self, condition: &Condition, now: Duration) {
        if let Some(by) = &condition.slowdown {
            self.slow_since = (!by.is_empty()).then(|| self.slow_since.unwrap_or(now));
        }
        let is_slow = self.slow_since.is_some_and(|since| now.saturating_sub(since) >= SLOW_FOR);
        let named = |text: &Option<String>, make: fn(String) -> HealthReason| {
            text.as_ref().map(|text| (!text.is_empty()).then(|| make(text.clone())))
        };
        let flag = |flag: Option<bool>, reason| flag.map(|is_set| is_set.then_some(reason));
        let slowdown = named(&condition.slowdown, |by| HealthReason::Slowdown { by });
        let readings: [Reading; 5] = [
            (
                |held| *held == HealthReason::RemapPending,
                flag(condition.remap_pending, HealthReason::RemapPending),
            ),
            (|held| *held == HealthReason::SramErrors, flag(condition.sram_errors, HealthReason::SramErrors)),
            (
                |held| matches!(held, HealthReason::NvlinkDown { .. }),
                self.links_down(condition)
                    .map(|links| (links > 0).then_some(HealthReason::NvlinkDown { links })),
            ),
            (
                |held| matches!(held, HealthReason::Fabric { .. }),
                named(&condition.fabric, |state| HealthReason::Fabric { state }),
            ),
            (
                |held| matches!(held, HealthReason::Slowdown { .. }),
                slowdown.map(|reason| reason.filter(|_| is_slow)),
            ),
        ];
        for (is_kind, reading) in readings {
            if let Some(reason) = reading {
                self.own.reading(is_kind, reason.filter(|reason| !self.accepted.contains(reason)));
            }
        }
    }

    /// The driver reported an XID.
    pub fn xid(&mut self, xid: u64, instance: Option<u32>, now: Moment, checks: &HealthChecks) {
        let ruling = checks.ruling(xid);
        let class = ruling.class.unwrap_or_else(|| self.unknown_xid(now.up));
        let level = match instance {
            Some(id) if ruling.scope == XidScope::Instance && id <= MAX_INSTANCE => {
                self.instances.entry(id).or_insert_with(|| Level::new(now))
            }
            _ => &mut self.own,
        };
        let reason = HealthReason::Xid { xid };
        match class {
            XidClass::Application | XidClass::Notice => {}
            XidClass::AskDriverFirst if self.recovery.is_none() => level.condemn(reason, ruling.proof),
            XidClass::Degraded | XidClass::AskDriver | XidClass::AskDriverFirst => {
                level.degrade_until(reason, now.up + DEGRADED_FOR);
            }
            XidClass::Critical => level.condemn(reason, ruling.proof),
        }
    }

    fn unknown_xid(&mut self, now: Duration) -> XidClass {
        self.unknown_xids.retain(|at| *at + DEGRADED_FOR > now);
        self.unknown_xids.push(now);
        if self.unknown_xids.len() < MAX_UNKNOWN_XIDS {
            return XidClass::Degraded;
        }
        self.unknown_xids.remove(0);
        XidClass::Critical
    }

    /// A person accepts what was learnt so far.
    pub fn accept(&mut self) {
        let read: Vec<HealthReason> = self.levels().flat_map(Level::accept).collect();
        self.accepted.extend(read);
        self.silence = None;
        self.unknown_xids.clear();
        self.slow_since = None;
    }

    /// Takes over words of people that were said after ours.
    pub fn adopt_words(&mut self, theirs: &Entry) {
        if theirs.own.has_other_words(&self.own) {
            if theirs.own.fence.is_none() {
                self.accept();
            }
            self.own.adopt_words(&theirs.own);
        }
        for (id, theirs) in &theirs.instances {
            let own = self.instances.entry(*id).or_insert_with(|| Level::new(theirs.since));
            if theirs.has_other_words(own) {
                own.adopt_words(theirs);
            }
        }
    }

    fn bad_probe(&mut self) {
        self.levels().for_each(Level::bad_probe);
    }

    /// Turns an Unknown state into Unhealthy after the grace, if a later look found the same or `admits` says so; ends
    /// Degraded ones that had their time.
    pub fn pass_time(&mut self, now: Duration, admits: impl FnOnce(&HealthReason) -> bool) {
        if let Some(silence) = self.silence.as_mut().filter(|silence| !silence.expired) {
            let is_over = now.saturating_sub(silence.since) >= GRACE;
            silence.expired = is_over && (silence.confirmed || admits(&silence.reason));
        }
        self.levels().for_each(|level| level.pass_time(now));
    }

    /// When [`Entry::pass_time`] has something to do. `frees_at` tells when the breaker lets one more go.
    pub fn next_change(
        &self,
        now: Duration,
        frees_at: impl FnOnce(&HealthReason) -> Option<Duration>,
    ) -> Option<Duration> {
        let silence = self.silence.as_ref().filter(|silence| !silence.expired).map(|silence| {
            let over = silence.since + GRACE;
            // Held back by the breaker, it is for a later look or for the breaker to end it.
            if over > now || silence.confirmed { over } else { frees_at(&silence.reason).unwrap_or(over) }
        });
        let levels = std::iter::once(&self.own).chain(self.instances.values());
        levels.filter_map(Level::next_change).chain(silence).min()
    }

    /// When a probe would tell more than one at any other time.
    pub fn next_probe(&self, settings: &Settings) -> Option<Duration> {
        let spacing = settings.proof_spacing;
        let doubt = self.silence.as_ref().filter(|silence| !silence.confirmed && !silence.expired);
        let levels = std::iter::once(&self.own).chain(self.instances.values());
        let proof = levels.filter_map(|level| level.next_probe(spacing));
        proof.chain(doubt.map(|silence| silence.since + spacing)).min()
    }

    fn levels(&mut self) -> impl Iterator<Item = &mut Level> {
        std::iter::once(&mut self.own).chain(self.instances.values_mut())
    }

    /// What another boot leaves of it: a person's fence, which is about the machine.
    pub fn after_boot(self) -> Option<Entry> {
        let mut entry = Entry::new(self.own.since);
        entry.own.fence = Some(self.own.fence?);
        Some(entry)
    }
}
