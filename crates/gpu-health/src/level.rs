//! What is held against one subject, a GPU or a GPU instance, and what follows from it.

use std::time::Duration;

use gpu_model::{Health, HealthReason};
use serde::{Deserialize, Serialize};

use crate::evidence::Moment;
use crate::transition::Word;
use crate::xid::Proof;

/// Probes that have to be good, one after another, before a GPU is well again.
pub const GOOD_PROBES: u8 = 3;

/// The most that is held against one subject: the rest would change nothing.
const MAX_FINDINGS: usize = 16;

/// What is held against one subject, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Level {
    pub findings: Vec<Finding>,
    /// A person took it out of service.
    pub fence: Option<Word>,
    /// The last time that a person accepted what was held against it.
    pub cleared: Option<Word>,
    /// Since when its health is what it is.
    pub since: Moment,
}

/// One thing that is held against it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    reason: HealthReason,
    ends: Ends,
}

/// How a finding ends; with it, how grave it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Ends {
    /// Degraded until this time since the boot.
    AtTime(Duration),
    /// Degraded until a reading says otherwise.
    WithReading,
    /// Unhealthy until there is proof.
    Proven {
        needs: Proof,
        /// Whether what it needs was seen; good probes count from then on.
        seen: bool,
        good: u8,
        /// When the last of them was.
        last: Option<Duration>,
    },
}

impl Level {
    /// Nothing is held against it, since `since`.
    pub fn new(since: Moment) -> Level {
        Level { since, ..Level::default() }
    }

    /// Its health by itself: a fence first, then the oldest of what makes it Unhealthy.
    pub fn health(&self, off: bool) -> Health {
        if self.fence.is_some() {
            return Health::Unhealthy { reason: HealthReason::Fenced };
        }
        if let Some(reason) = self.first_grave().filter(|_| !off) {
            return Health::Unhealthy { reason: reason.clone() };
        }
        if self.findings.is_empty() {
            return Health::Healthy;
        }
        let mut reasons: Vec<HealthReason> =
            self.findings.iter().map(|finding| finding.reason.clone()).collect();
        reasons.sort();
        Health::Degraded { reasons }
    }

    fn first_grave(&self) -> Option<&HealthReason> {
        self.findings.iter().find(|finding| finding.is_grave()).map(|finding| &finding.reason)
    }

    /// Whether something makes it Unhealthy, fences apart.
    pub fn is_condemned(&self) -> bool {
        self.first_grave().is_some()
    }

    /// Holds `reason` against it until there is proof that it is over. Said again, the proof begins anew.
    pub fn condemn(&mut self, reason: HealthReason, needs: Proof) {
        let ends = Ends::Proven { needs, seen: needs == Proof::Answers, good: 0, last: None };
        match self.findings.iter_mut().find(|finding| finding.reason == reason) {
            Some(finding) => finding.ends = ends,
            None => self.add(Finding { reason, ends }),
        }
    }

    /// Holds `reason` against it as Degraded until `until`.
    pub fn degrade_until(&mut self, reason: HealthReason, until: Duration) {
        match self.findings.iter_mut().find(|finding| finding.reason == reason) {
            Some(Finding { ends: Ends::AtTime(end), .. }) => *end = until.max(*end),
            Some(_) => {}
            None => self.add(Finding { reason, ends: Ends::AtTime(until) }),
        }
    }

    /// Makes the readings of one kind what they are now: one `reason`, or none.
    pub fn reading(&mut self, is_kind: impl Fn(&HealthReason) -> bool, reason: Option<HealthReason>) {
        let stays = |finding: &Finding| {
            !is_kind(&finding.reason) || finding.is_grave() || Some(&finding.reason) == reason.as_ref()
        };
        self.findings.retain(stays);
        if let Some(reason) = reason
            && !self.findings.iter().any(|finding| finding.reason == reason)
        {
            self.add(Finding { reason, ends: Ends::WithReading });
        }
    }

    /// Drops what is held against it for a reason like this.
    pub fn forget(&mut self, is_kind: impl Fn(&HealthReason) -> bool) {
        self.findings.retain(|finding| !is_kind(&finding.reason));
    }

    /// Drops all that is held against it. Gives what a later reading would hold against it again.
    pub fn accept(&mut self) -> Vec<HealthReason> {
        let is_read = |finding: &Finding| match finding.reason {
            HealthReason::RecoveryWanted { .. } | HealthReason::RemapFailed => true,
            _ => finding.ends == Ends::WithReading,
        };
        std::mem::take(&mut self.findings).into_iter().filter(is_read).map(|finding| finding.reason).collect()
    }

    /// Whether people said something of it that `ours` does not know. Which was said last no clock tells: it may have been set
    /// back in between.
    pub fn has_other_words(&self, ours: &Level) -> bool {
        let has_any = self.fence.is_some() || self.cleared.is_some();
        has_any && (&self.fence, &self.cleared) != (&ours.fence, &ours.cleared)
    }

    /// Takes over what people said of it to another process; a clear accepts what is held against it here, too.
    pub fn adopt_words(&mut self, theirs: &Level) {
        if theirs.fence.is_none() {
            self.findings.clear();
        }
        self.fence.clone_from(&theirs.fence);
        self.cleared.clone_from(&theirs.cleared);
    }

    /// What the proofs in `seen` prove.
    pub fn prove(&mut self, proof: Proof) {
        for finding in &mut self.findings {
            if let Ends::Proven { needs, seen, .. } = &mut finding.ends {
                // A reset proves more than a driver that is content.
                *seen |= *needs == proof || (proof == Proof::Reset && *needs == Proof::DriverContent);
            }
        }
    }

    /// A good probe: what was proven and has had enough of them is over.
    pub fn good_probe(&mut self, now: Duration, spacing: Duration) {
        self.findings.retain_mut(|finding| match &mut finding.ends {
            Ends::Proven { seen: true, good, last, .. } => {
                if last.is_none_or(|last| now.saturating_sub(last) >= spacing) {
                    (*good, *last) = (*good + 1, Some(now));
                }
                *good < GOOD_PROBES
            }
            _ => true,
        });
    }

    /// A bad probe: those before it count no more.
    pub fn bad_probe(&mut self) {
        for finding in &mut self.findings {
            if let Ends::Proven { good, last, .. } = &mut finding.ends {
                (*good, *last) = (0, None);
            }
        }
    }

    /// Ends what had its time.
    pub fn pass_time(&mut self, now: Duration) {
        self.findings.retain(|finding| !matches!(finding.ends, Ends::AtTime(until) if until <= now));
    }

    /// When [`Level::pass_time`] has something to do.
    pub fn next_change(&self) -> Option<Duration> {
        let time = |finding: &Finding| match finding.ends {
            Ends::AtTime(until) => Some(until),
            _ => None,
        };
        self.findings.iter().filter_map(time).min()
    }

    /// When the next probe would be one more good one.
    pub fn next_probe(&self, spacing: Duration) -> Option<Duration> {
        let due = |finding: &Finding| match finding.ends {
            Ends::Proven { seen: true, last: Some(last), .. } => Some(last + spacing),
            _ => None,
        };
        self.findings.iter().filter_map(due).min()
    }

    /// How far the proof is of what makes it Unhealthy, in words.
    pub fn awaits(&self) -> Option<String> {
        if self.fence.is_some() {
            return Some("a person's clear".to_owned());
        }
        let told = |finding: &Finding| match finding.ends {
            Ends::Proven { seen: true, good, .. } => {
                Some(format!("{} more good probes", GOOD_PROBES.saturating_sub(good)))
            }
            Ends::Proven { needs: Proof::Boot, .. } => Some("a boot of the node".to_owned()),
            Ends::Proven { needs: Proof::DriverContent, .. } => {
                Some("the driver to ask for no recovery".to_owned())
            }
            Ends::Proven { .. } => Some("a reset of the GPU".to_owned()),
            _ => None,
        };
        self.findings.iter().find_map(told)
    }

    fn add(&mut self, finding: Finding) {
        if self.findings.len() >= MAX_FINDINGS {
            let light = self.findings.iter().position(|finding| !finding.is_grave());
            match light.filter(|_| finding.is_grave()) {
                Some(at) => drop(self.findings.remove(at)),
                None => return,
            }
        }
        self.findings.push(finding);
    }
}

impl Finding {
    fn is_grave(&self) -> bool {
        matches!(self.ends, Ends::Proven { .. })
    }
}
