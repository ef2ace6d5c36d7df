//! The ledger: what is known of every GPU that was ever listed, and the changes that evidence makes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gpu_model::{GpuUuid, Health, HealthReason, failure};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::breaker::Breaker;
use crate::entry::Entry;
use crate::evidence::{Evidence, GPU_IS_LOST, Moment, RESET_REQUIRED};
use crate::level::Level;
use crate::transition::{Cause, Subject, Transition, Word};
use crate::xid::Proof;
use crate::{HealthChecks, Settings};

/// What is known of each GPU. GPUs are never forgotten: a pod may hold one.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    settings: Settings,
    state: SavedLedger,
    /// The GPUs that were listed in this process: a kept one is told anew when it is listed first.
    listed: BTreeSet<GpuUuid>,
}

/// A ledger as it is kept over a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedLedger {
    driver: Option<String>,
    /// Whether checks were switched off: it decides what the rest means.
    off: bool,
    gpus: BTreeMap<GpuUuid, Entry>,
    breaker: Breaker,
}

/// Whether a ledger that was kept is of the boot that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boot {
    /// It is: everything still holds.
    Same,
    /// It is not: of what was held against GPUs, only people's fences are left.
    Other,
}

/// A subject as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Whose.
    pub subject: Subject,
    /// Its health: of a GPU its own, of a GPU instance what is held against the instance alone.
    pub health: Health,
    /// Since when, in milliseconds since 1970.
    pub since_unix_ms: u64,
    /// The fence that stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<Word>,
    /// The last time that a person accepted what was held against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleared: Option<Word>,
    /// What it waits for to be well again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaits: Option<String>,
}

/// A person's word about something that the ledger does not know.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{subject} is not known here: no GPU of this node was ever listed under this id")]
pub struct UnknownSubjectError {
    subject: Subject,
}

impl Ledger {
    /// An empty one.
    pub fn new(settings: Settings) -> Ledger {
        Ledger::restored(settings, SavedLedger::default(), Boot::Same)
    }

    /// The one that was kept, as far as it still holds.
    pub fn restored(settings: Settings, mut saved: SavedLedger, boot: Boot) -> Ledger {
        if boot == Boot::Other {
            let left = std::mem::take(&mut saved.gpus).into_iter();
            let gpus = left.filter_map(|(gpu, entry)| Some((gpu, entry.after_boot()?))).collect();
            saved = SavedLedger { gpus, ..SavedLedger::default() };
        }
        saved.off = settings.checks.off;
        Ledger { settings, state: saved, listed: BTreeSet::new() }
    }

    /// The one that was kept in this boot, to be looked at: as it was judged there.
    pub fn as_kept(saved: SavedLedger) -> Ledger {
        let mut settings = Settings::default();
        settings.checks.off = saved.off;
        Ledger::restored(settings, saved, Boot::Same)
    }

    /// Judges by other rules from now on. What is held against GPUs already stays until what ends it.
    pub fn judge_by(&mut self, checks: HealthChecks) {
        self.state.off = checks.off;
        self.settings.checks = checks;
    }

    /// Every GPU of which something is known, also those that this process has not seen.
    pub fn gpus(&self) -> impl Iterator<Item = &GpuUuid> {
        self.state.gpus.keys()
    }

    /// What to keep over a restart.
    pub fn saved(&self) -> &SavedLedger {
        &self.state
    }

    /// Takes in `evidence` and gives the changes that it made. Evidence about a GPU that was never listed changes
    /// nothing.
    pub fn take(&mut self, evidence: &Evidence, now: Moment) -> Vec<Transition> {
        let Settings { checks, proof_spacing: spacing } = &self.settings;
        let (spacing, up) = (*spacing, now.up);
        let SavedLedger { driver, gpus, breaker, .. } = &mut self.state;
        let (subjects, cause): (Vec<GpuUuid>, Cause) = match evidence {
            Evidence::Listed { gpu, .. } => {
                gpus.entry(gpu.clone()).or_insert_with(|| Entry::new(now));
                (vec![gpu.clone()], Cause::Inventory)
            }
            Evidence::Vanished(gpu) => (vec![gpu.clone()], Cause::Inventory),
            Evidence::Answered { gpu, .. } | Evidence::Refused { gpu, .. } => {
                (vec![gpu.clone()], Cause::Probe)
            }
            Evidence::Xid { gpu, .. } => (vec![gpu.clone()], Cause::Xid),
            Evidence::Driver { .. } => (gpus.keys().cloned().collect(), Cause::Inventory),
            Evidence::Silent(_) => (gpus.keys().cloned().collect(), Cause::Silence),
        };
        let count = gpus.len();
        let is_other_driver = match evidence {
            Evidence::Driver { version } => {
                driver.replace(version.clone()).is_some_and(|last| last != *version)
            }
            _ => false,
        };
        let mut changes = changes(checks, gpus, &subjects, cause, now, |gpu, entry| {
            let admits = |reason: &HealthReason| breaker.admits(reason, gpu, count, up);
            match evidence {
                Evidence::Driver { .. } if is_other_driver => entry.driver_changed(),
                Evidence::Driver { .. } => {}
                Evidence::Listed { instances, .. } => entry.listed(instances.as_deref()),
                Evidence::Vanished(_) => {
                    entry.condemn(HealthReason::Vanished, Proof::Answers, up, spacing, admits);
                }
                Evidence::Answered { condition, .. } => entry.answered(condition, up, spacing, admits),
                Evidence::Refused { call, code, .. } => {
                    let failed = HealthReason::CallFailed { call: call.clone(), failure: *code };
                    match *code {
                        // The call was given up, not refused.
                        failure::NO_RETURN => entry.unknown(HealthReason::NvmlStuck, up, spacing),
                        failure::CRASH => entry.unknown(HealthReason::NvmlFailed, up, spacing),
                        GPU_IS_LOST => entry.condemn(HealthReason::Lost, Proof::Answers, up, spacing, admits),
                        RESET_REQUIRED => {
                            entry.refused_until_reset();
                            entry.condemn(failed, Proof::Answers, up, spacing, admits);
                        }
                        _ => entry.unknown(failed, up, spacing),
                    }
                }
                Evidence::Xid { xid, gpu_instance, .. } => entry.xid(*xid, *gpu_instance, now, checks),
                Evidence::Silent(reason) => entry.unknown(reason.clone(), up, spacing),
            }
        });
        if let Evidence::Listed { gpu, .. } = evidence
            && self.listed.insert(gpu.clone())
        {
            // Told as it is now, instead of as a change.
            let subject = Subject::gpu(gpu.clone());
            changes.retain(|change| change.subject != subject);
            let to = gpus.get(gpu).map_or(Health::Healthy, |entry| entry.health(checks.off));
            changes.insert(0, Transition { subject, from: None, to, cause, at: now });
        }
        changes
    }

    /// Does what time alone does: Unknown for too long is Unhealthy, and a Degraded state ends.
    pub fn pass_time(&mut self, now: Moment) -> Vec<Transition> {
        let SavedLedger { gpus, breaker, .. } = &mut self.state;
        let (count, up) = (gpus.len(), now.up);
        let all: Vec<GpuUuid> = gpus.keys().cloned().collect();
        let mut changes = changes(&self.settings.checks, gpus, &all, Cause::TimeOver, now, |gpu, entry| {
            entry.pass_time(up, |reason| breaker.admits(reason, gpu, count, up));
        });
        for change in &mut changes {
            if matches!(change.from, Some(Health::Unknown { .. })) {
                change.cause = Cause::GraceOver;
            }
        }
        changes
    }

    /// When [`Ledger::pass_time`] will have something to do, as time since the boot; never, if nothing is open.
    pub fn next_change(&self, now: Moment) -> Option<Duration> {
        let SavedLedger { gpus, breaker, .. } = &self.state;
        gpus.values().filter_map(|entry| entry.next_change(now.up, |reason| breaker.frees_at(reason))).min()
    }

    /// When a probe of all GPUs would tell more than at any other time: to prove that one is well again, or that one is
    /// really ill.
    pub fn next_probe(&self) -> Option<Duration> {
        self.state.gpus.values().filter_map(|entry| entry.next_probe(&self.settings)).min()
    }

    /// A person takes `subject` out of service, until a clear.
    ///
    /// # Errors
    /// When the GPU was never listed.
    pub fn fence(
        &mut self,
        subject: &Subject,
        word: Word,
        now: Moment,
    ) -> Result<Vec<Transition>, UnknownSubjectError> {
        self.by_person(subject, now, |entry| match subject.gpu_instance {
            None => entry.own.fence = Some(word),
            Some(id) => {
                entry.instances.entry(id).or_insert_with(|| Level::new(now)).fence = Some(word);
            }
        })
    }

    /// A person ends the fence on `subject` and accepts what was learnt about it so far, of a GPU also what was learnt
    /// about its instances. What is learnt later counts again; a reading, such as the recovery that the driver asks
    /// for, once it is another one.
    ///
    /// # Errors
    /// When the GPU was never listed.
    pub fn clear(
        &mut self,
        subject: &Subject,
        word: Word,
        now: Moment,
    ) -> Result<Vec<Transition>, UnknownSubjectError> {
        self.by_person(subject, now, |entry| match subject.gpu_instance {
            None => {
                entry.accept();
                for level in std::iter::once(&mut entry.own).chain(entry.instances.values_mut()) {
                    (level.fence, level.cleared) = (None, Some(word.clone()));
                }
            }
            Some(id) => {
                if let Some(level) = entry.instances.get_mut(&id) {
                    level.accept();
                    (level.fence, level.cleared) = (None, Some(word));
                }
            }
        })
    }

    /// Takes over what people said to another process of this ledger. They speak to one process at a time, and this one is the
    /// next: what the other was told is newer than whatever is known here, also where its time says otherwise, since clocks
    /// are set.
    pub fn adopt_words(&mut self, theirs: &SavedLedger, now: Moment) -> Vec<Transition> {
        let gpus = &mut self.state.gpus;
        let known: Vec<GpuUuid> = gpus.keys().cloned().collect();
        changes(&self.settings.checks, gpus, &known, Cause::Person, now, |gpu, entry| {
            if let Some(theirs) = theirs.gpus.get(gpu) {
                entry.adopt_words(theirs);
            }
        })
    }

    /// Makes `gpus` the leased ones, and no others. A leased GPU is Unhealthy whatever else is known of it; what is
    /// learnt of it meanwhile counts when the lease has ended.
    pub fn lease(&mut self, leased: &BTreeSet<GpuUuid>, now: Moment) -> Vec<Transition> {
        let gpus = &mut self.state.gpus;
        let is_other =
            |(gpu, entry): (&GpuUuid, &Entry)| (entry.is_leased != leased.contains(gpu)).then(|| gpu.clone());
        let others: Vec<GpuUuid> = gpus.iter().filter_map(is_other).collect();
        changes(&self.settings.checks, gpus, &others, Cause::Lease, now, |_, entry| {
            entry.is_leased = !entry.is_leased;
        })
    }

    /// The GPUs that are leased, or were and were not given back to [`Ledger::lease`] yet.
    pub fn leased(&self) -> BTreeSet<GpuUuid> {
        let gpus = self.state.gpus.iter();
        gpus.filter(|(_, entry)| entry.is_leased).map(|(gpu, _)| gpu.clone()).collect()
    }

    /// Health of the GPU itself as it would be without a lease. None for one never listed.
    pub fn beneath_lease(&self, gpu: &GpuUuid) -> Option<Health> {
        Some(self.state.gpus.get(gpu)?.beneath(self.settings.checks.off))
    }

    fn by_person(
        &mut self,
        subject: &Subject,
        now: Moment,
        act: impl FnOnce(&mut Entry),
    ) -> Result<Vec<Transition>, UnknownSubjectError> {
        let gpus = &mut self.state.gpus;
        if !gpus.contains_key(&subject.gpu) {
            return Err(UnknownSubjectError { subject: subject.clone() });
        }
        let mut act = Some(act);
        let subjects = [subject.gpu.clone()];
        Ok(changes(&self.settings.checks, gpus, &subjects, Cause::Person, now, |_, entry| {
            if let Some(act) = act.take() {
                act(entry);
            }
        }))
    }

    /// Health of a whole GPU as it is handed out: its own, and that of its worst instance. None for one never listed.
    pub fn health(&self, gpu: &GpuUuid) -> Option<Health> {
        let off = self.settings.checks.off;
        let entry = self.state.gpus.get(gpu)?;
        let own = entry.health(off);
        Some(entry.instances.values().fold(own, |worst, level| worse(worst, level.health(off))))
    }

    /// Health of one GPU instance: the worse of its own and its GPU's. None for a GPU never listed.
    pub fn instance_health(&self, gpu: &GpuUuid, instance: u32) -> Option<Health> {
        let off = self.settings.checks.off;
        let entry = self.state.gpus.get(gpu)?;
        let own = entry.instances.get(&instance).map_or(Health::Healthy, |level| level.health(off));
        Some(worse(entry.health(off), own))
    }

    /// Everything that is known, GPU by GPU; instances of which nothing is known are left out.
    pub fn records(&self) -> Vec<Record> {
        let off = self.settings.checks.off;
        let record = |subject, health, level: &Level, awaits: Option<String>| Record {
            subject,
            health,
            since_unix_ms: level.since.unix_ms,
            fence: level.fence.clone(),
            cleared: level.cleared.clone(),
            awaits,
        };
        let mut records = Vec::new();
        for (gpu, entry) in &self.state.gpus {
            records.push(record(Subject::gpu(gpu.clone()), entry.health(off), &entry.own, entry.awaits()));
            for (id, level) in &entry.instances {
                let subject = Subject { gpu: gpu.clone(), gpu_instance: Some(*id) };
                records.push(record(subject, level.health(off), level, level.awaits()));
            }
        }
        records
    }
}

/// Lets `act` work on each of `subjects` that is known, and tells what that changed.
fn changes(
    checks: &HealthChecks,
    gpus: &mut BTreeMap<GpuUuid, Entry>,
    subjects: &[GpuUuid],
    cause: Cause,
    at: Moment,
    mut act: impl FnMut(&GpuUuid, &mut Entry),
) -> Vec<Transition> {
    let mut changes = Vec::new();
    for gpu in subjects {
        let Some(entry) = gpus.get_mut(gpu) else { continue };
        let own = entry.health(checks.off);
        let instances: BTreeMap<u32, Health> =
            entry.instances.iter().map(|(id, level)| (*id, level.health(checks.off))).collect();
        act(gpu, entry);
        let to = entry.health(checks.off);
        if own != to {
            entry.own.since = at;
            let subject = Subject::gpu(gpu.clone());
            changes.push(Transition { subject, from: Some(own), to, cause, at });
        }
        let ids: BTreeSet<u32> = instances.keys().chain(entry.instances.keys()).copied().collect();
        for id in ids {
            let from = instances.get(&id).cloned().unwrap_or(Health::Healthy);
            let level = entry.instances.get_mut(&id);
            let to = level.as_ref().map_or(Health::Healthy, |level| level.health(checks.off));
            if from == to {
                continue;
            }
            if let Some(level) = level {
                level.since = at;
            }
            let subject = Subject { gpu: gpu.clone(), gpu_instance: Some(id) };
            changes.push(Transition { subject, from: Some(from), to, cause, at });
        }
    }
    changes
}

/// The worse of two: Unhealthy, Unknown, Degraded (of both, all reasons), Healthy; of two alike the first.
fn worse(one: Health, other: Health) -> Health {
    match (one, other) {
        (Health::Degraded { mut reasons }, Health::Degraded { reasons: more }) => {
            reasons.extend(more);
            reasons.sort();
            reasons.dedup();
            Health::Degraded { reasons }
        }
        (one, other) => {
            if rank(&other) > rank(&one) {
                other
            } else {
                one
            }
        }
    }
}

fn rank(health: &Health) -> u8 {
    match health {
        Health::Healthy => 0,
        Health::Degraded { .. } => 1,
        Health::Unknown { .. } => 2,
        Health::Unhealthy { .. } => 3,
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
