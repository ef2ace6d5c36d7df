//! Leased GPUs: listed as such at once, left alone when it is asked for, and after the lease listed again only from a
//! fresh and steady look.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use gpu_health::{Evidence, Transition};
use gpu_model::{Gpu, GpuUuid, Health, Inventory};
use node_contract::{Freshness, NodeReport};
use nvml::GpuAt;
use tokio::sync::watch;

use super::{Observer, ObserverEnded, Question, Watching};
use crate::health::now;
use crate::injection::Need;
use crate::leases::{Claims, Yielded};

/// Between two looks at a GPU that have to be alike.
const STEADY: Duration = Duration::from_secs(1);

/// The observer's part in leases.
#[derive(Debug)]
pub struct Leasing {
    /// What leases want.
    pub claims: watch::Receiver<Claims>,
    /// How far this is.
    pub yielded: watch::Sender<Yielded>,
}

/// What is remembered of leases.
#[derive(Debug, Default)]
pub(super) struct Leased {
    gpus: BTreeSet<GpuUuid>,
    /// Those of them that no worker may touch.
    aside: BTreeSet<GpuUuid>,
    /// Those of which no worker has a handle any more.
    released: BTreeSet<GpuUuid>,
    /// GPUs whose lease is over, and what the last look showed.
    returning: BTreeMap<GpuUuid, Returning>,
    next_look: Option<Instant>,
}

#[derive(Debug, Default)]
struct Returning {
    last: Option<Gpu>,
    is_steady: bool,
    has_answered: bool,
}

/// The inventory of an earlier process, in which leased GPUs are looked up rather than touched.
pub(super) struct Remembered {
    inventory: Inventory,
    leased: BTreeSet<GpuUuid>,
}

impl Remembered {
    /// All of it, where all is leased.
    pub(super) fn is_all_leased(&self) -> bool {
        reach(&self.inventory.gpus, &self.leased).is_empty()
    }

    pub(super) fn inventory(self) -> Inventory {
        self.inventory
    }

    /// What is remembered of the leased ones, put into an inventory of the others.
    pub(super) fn complete(self, inventory: &mut Inventory) {
        add_left_alone(inventory, &self.inventory, &self.leased);
    }
}

impl Observer {
    /// Sees to it that no leased GPU is touched by the questions of the start. While it is not known which ones those
    /// are, this waits.
    ///
    /// # Errors
    /// When a thread has died.
    pub(super) async fn leave_leased_alone(&self) -> Result<Option<Remembered>, ObserverEnded> {
        let mut claims = self.leasing.claims.clone();
        let mut is_told = false;
        loop {
            // Who ended the claims says why.
            let is_open = claims.wait_for(|claims| claims.is_read).await.is_ok();
            let leased = claims.borrow_and_update().leased.clone();
            if leased.is_empty() || !is_open {
                self.nvml.confine(None);
                return Ok(None);
            }
            let (path, boot) = (self.report.clone(), self.boot.clone());
            let read = self.files.run(move || {
                let report = NodeReport::read(&path).ok()?;
                (report.freshness(&boot?) == Freshness::ThisBoot).then_some(report.inventory)
            });
            if let Some(inventory) = read.await? {
                self.nvml.confine(Some(reach(&inventory.gpus, &leased)));
                return Ok(Some(Remembered { inventory, leased }));
            }
            self.yield_unlisted(leased).await;
            let reason = "GPUs are leased, and no earlier process of this boot has left a report that says which of the driver's they are: it is asked when the leases are over";
            self.components.driver.not_ready("leased", reason);
            if !std::mem::replace(&mut is_told, true) {
                tracing::warn!(reason, "no GPU can be offered yet");
            }
            let _ = claims.changed().await;
        }
    }

    /// Waits until there is a config that can be used. Its own component says what is wrong with it.
    pub(super) async fn wait_for_config(&self) {
        let (mut config, mut claims) = (self.config.clone(), self.leasing.claims.clone());
        claims.mark_changed();
        loop {
            let changed = tokio::select! {
                _ = config.wait_for(Option::is_some) => return,
                changed = claims.changed() => changed,
            };
            if changed.is_err() {
                // Who ended the claims says why.
                return std::future::pending().await;
            }
            let leased = claims.borrow_and_update().leased.clone();
            if !leased.is_empty() {
                self.yield_unlisted(leased).await;
            }
        }
    }

    /// While nothing is offered nothing has to be taken back: the workers' end is all that a lease needs.
    async fn yield_unlisted(&self, leased: BTreeSet<GpuUuid>) {
        // After the shutdown nobody waits.
        let _ = self.nvml.release().await;
        let (told, released) = (leased.clone(), leased);
        self.leasing.yielded.send_replace(Yielded { told, released, ..Yielded::default() });
    }
}

impl Leased {
    /// Nothing is known of leases but what was kept: a GPU whose lease ended while no process ran has to be seen anew.
    pub(super) fn at_start(kept: BTreeSet<GpuUuid>) -> Leased {
        let returning = kept.into_iter().map(|gpu| (gpu, Returning::default())).collect();
        Leased { returning, ..Leased::default() }
    }

    /// When a look at all GPUs is worth while.
    pub(super) fn due(&self) -> Option<Instant> {
        self.next_look
    }
}

impl Watching {
    /// Whether there is no GPU that may be touched, so that the driver is left alone, too.
    pub(super) fn is_quiet(&self) -> bool {
        !self.knows_all() && reach(&self.known, &self.leased.aside).is_empty()
    }

    /// Whether the workers may have a handle on every GPU. The topology is asked for of the whole node or not at all.
    pub(super) fn knows_all(&self) -> bool {
        self.leased.aside.is_empty()
    }

    /// At the start leased GPUs were never touched.
    pub(super) fn begin_leases(&mut self) {
        self.take_claims();
        self.leased.aside.clone_from(&self.leased.gpus);
        self.confine();
    }

    /// Takes over what leases want, and gives whether the workers have to end for it: because they have handles that they
    /// must not have, or because what they know of a GPU is from before its lease. Nothing is published yet.
    pub(super) fn take_claims(&mut self) -> bool {
        let Claims { leased, let_go, .. } = self.with.leasing.claims.borrow_and_update().clone();
        let state = &mut self.leased;
        for gpu in state.gpus.difference(&leased) {
            state.returning.insert(gpu.clone(), Returning::default());
        }
        state.returning.retain(|gpu, _| !leased.contains(gpu));
        let is_over = state.gpus.iter().any(|gpu| !leased.contains(gpu));
        let aside: BTreeSet<GpuUuid> =
            leased.intersection(&state.aside.union(&let_go).cloned().collect()).cloned().collect();
        let has_changed = aside != state.aside;
        state.gpus = leased;
        state.aside = aside;
        state.released.retain(|gpu| state.aside.contains(gpu));
        if has_changed {
            self.confine();
            // The wiring may be another one afterwards.
            self.topology = super::Wish::default();
        }
        if is_over || has_changed {
            self.want(Question::Inventory);
            self.want(Question::Probe);
        }
        has_changed
    }

    fn confine(&self) {
        let aside = &self.leased.aside;
        self.with.nvml.confine((!aside.is_empty()).then(|| reach(&self.known, aside)));
    }

    /// The workers have ended that had handles on GPUs that are to be left alone.
    pub(super) fn workers_ended(&mut self) {
        self.leased.released.clone_from(&self.leased.aside);
        self.tell_yielded();
    }

    /// Completes an answer about the GPUs that may be touched by what is known of the others.
    pub(super) fn complete(&self, inventory: &mut Inventory) {
        if !self.knows_all() {
            add_left_alone(inventory, &self.inventory, &self.leased.aside);
        }
    }

    /// The known GPUs of which an answer says something.
    pub(super) fn asked(&self) -> Vec<Gpu> {
        if self.knows_all() {
            return self.known.clone();
        }
        let asked = reach(&self.known, &self.leased.aside);
        self.known.iter().filter(|gpu| is_within(gpu, &asked)).cloned().collect()
    }

    /// Whether it is evidence on a GPU that is left alone, and known: it was not looked at.
    pub(super) fn is_hearsay(&self, evidence: &Evidence) -> bool {
        matches!(evidence, Evidence::Listed { gpu, .. }
            if self.leased.aside.contains(gpu) && self.with.health.ledger.health(gpu).is_some())
    }

    /// Whether GPUs are about to be listed again.
    pub(super) fn has_returning(&self) -> bool {
        !self.leased.returning.is_empty()
    }

    /// An inventory came in.
    pub(super) fn see_returning(&mut self) {
        let Watching { leased, inventory, .. } = self;
        let mut is_open = false;
        for (gpu, returning) in &mut leased.returning {
            let now = inventory.gpus.iter().find(|listed| listed.uuid == *gpu);
            returning.is_steady = now.is_some() && returning.last.as_ref() == now;
            returning.last = now.cloned();
            is_open |= now.is_some() && !returning.is_steady;
        }
        leased.next_look = is_open.then(|| Instant::now() + STEADY);
    }

    /// A probe came in.
    pub(super) fn hear_returning(&mut self, evidence: &[Evidence]) {
        let mut is_back = false;
        for evidence in evidence {
            if let Evidence::Answered { gpu, .. } = evidence
                && let Some(returning) = self.leased.returning.get_mut(gpu)
            {
                returning.has_answered = true;
                is_back |= returning.last.is_none();
            }
        }
        if is_back {
            self.want(Question::Inventory);
        }
    }

    /// It is time for the second of two looks.
    pub(super) fn look_again(&mut self) {
        self.leased.next_look = None;
        self.want(Question::Inventory);
    }

    /// Ends the return of GPUs that were seen anew. To be asked before each publication.
    pub(super) fn settle_leases(&mut self) -> Vec<Transition> {
        // What a container gets of it has to be on disk.
        let has_spec = self.need() < Need::Nodes || (self.spec.is_some() && self.spec_wanted.is_none());
        let ledger = &mut self.with.health.ledger;
        let mut leased = self.leased.gpus.clone();
        self.leased.returning.retain(|gpu, returning| {
            match ledger.beneath_lease(gpu) {
                // Never listed, or what is held against it says more than the lease that it had; it is seen anew
                // all the same.
                None | Some(Health::Unhealthy { .. }) => return true,
                Some(Health::Healthy | Health::Degraded { .. })
                    if returning.is_steady && returning.has_answered && has_spec =>
                {
                    return false;
                }
                Some(_) => {}
            }
            leased.insert(gpu.clone());
            true
        });
        ledger.lease(&leased, now())
    }

    /// Tells how far this is with the leases.
    pub(super) fn tell_yielded(&self) {
        let Leased { gpus, released, .. } = &self.leased;
        let mut yielded = Yielded { told: gpus.clone(), released: released.clone(), ..Yielded::default() };
        if !gpus.is_empty() {
            let used = self.with.used.borrow();
            for gpu in gpus {
                let known = self.known.iter().filter(|known| known.uuid == *gpu);
                let parts = known.flat_map(|known| &known.mig_devices).map(|part| part.uuid.to_string());
                let held = used.held.mig_gpus.iter().filter(|(_, of)| *of == gpu);
                let units = std::iter::once(gpu.to_string()).chain(parts);
                let units = units.chain(held.map(|(part, _)| part.to_string()));
                yielded.units.insert(gpu.clone(), units.collect());
            }
            for state in self.with.board.current() {
                let lists_some = state
                    .devices
                    .iter()
                    .any(|device| device.offered.gpu().is_some_and(|gpu| gpus.contains(gpu)));
                if lists_some {
                    yielded.lists.insert(state.resource.clone(), state.generation);
                }
            }
        }
        self.with.leasing.yielded.send_if_modified(|last| {
            let is_news = *last != yielded;
            *last = yielded;
            is_news
        });
    }
}

/// The GPUs that may be touched, where these may not. One whose address is not known cannot be told from them.
fn reach(listed: &[Gpu], aside: &BTreeSet<GpuUuid>) -> Vec<GpuAt> {
    let others = listed.iter().filter(|gpu| !aside.contains(&gpu.uuid));
    others.filter_map(|gpu| Some(GpuAt { index: gpu.index, pci: *gpu.pci.value()? })).collect()
}

/// Whether a GPU is one of those that may be touched.
fn is_within(gpu: &Gpu, reach: &[GpuAt]) -> bool {
    gpu.pci.value().is_some_and(|pci| reach.iter().any(|place| place.pci == *pci))
}

/// Puts GPUs that were left alone into an inventory of the others, as they were last seen.
fn add_left_alone(inventory: &mut Inventory, last: &Inventory, aside: &BTreeSet<GpuUuid>) {
    let is_new = |gpu: &&Gpu| !inventory.gpus.iter().any(|listed| listed.uuid == gpu.uuid);
    let asked = reach(&last.gpus, aside);
    let left: Vec<Gpu> =
        last.gpus.iter().filter(|gpu| !is_within(gpu, &asked)).filter(is_new).cloned().collect();
    inventory.gpus.extend(left);
    inventory.gpus.sort_by_key(|gpu| gpu.index);
    let failures = last
        .failures
        .iter()
        .filter(|failure| !inventory.failures.iter().any(|known| known.index == failure.index));
    let failures: Vec<_> = failures.cloned().collect();
    inventory.failures.extend(failures);
}
