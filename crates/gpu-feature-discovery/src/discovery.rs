//! The loop: looks when there is reason to, makes labels of what it sees, and publishes them when they are others.
//!
//! Reasons are a config, a report of the device plugin (a change of MIG or of health) or without it an event of the driver, a
//! lease that begins or ends, a word of Node Feature Discovery, a request by SIGHUP, a pause that is over. It knows no
//! output.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config_file::InForce;
use daemon::absent::until;
use daemon::beat;
use daemon::files::{FilesGone, PATIENCE};
use file_watch::FileWatch;
use gpu_config::SleepInterval;
use gpu_model::GpuUuid;
use gpu_model::names::LABEL_GPU_PRESENT;
use node_contract::Pace;
use node_host::{FileIdentity, LocalPath, atomic};
use nvml::{Event, EventStream, next_event};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::config::{LabelFlags, Plan};
use crate::facts::{DriverFacts, Face};
use crate::kept;
use crate::labels::{Labels, label};
use crate::leases::Leases;
use crate::look::{Away, Look, LookEnded, Looker};
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::plugin::Plugin;
use crate::reach::Reach;

/// Pause before the next look at a driver that is away, or at GPUs that were missed: a driver is to be taken up within 10 s.
/// Looks for other reasons may be closer together.
pub const RETRY: Duration = Duration::from_secs(5);

/// How often leases are looked for beside inotify.
const SELDOM: Duration = Duration::from_secs(10);

/// Between two looks for which events ask: whoever partitions a GPU makes many at once, and so does a bad program.
const EVENT_GAP: Duration = Duration::from_secs(1);

/// What there is to show.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shown {
    /// Grows with each change.
    pub generation: u64,
    /// The labels.
    pub labels: Labels,
    /// The GPUs as the driver says them; nothing while it is away.
    pub driver: Option<DriverFacts>,
    /// A short word for why the labels are those of before.
    pub away: Option<&'static str>,
}

/// Discovery is over.
#[derive(Debug, Error)]
pub enum DiscoveryEnded {
    /// There is no driver to start with, and that is to end the program.
    #[error("no driver at the start: {reason}")]
    NoDriver {
        /// Why not.
        reason: String,
    },
    /// A thread has died.
    #[error(transparent)]
    Look(#[from] LookEnded),
}

impl From<FilesGone> for DiscoveryEnded {
    fn from(gone: FilesGone) -> Self {
        DiscoveryEnded::Look(gone.into())
    }
}

/// Readiness.
pub struct Components {
    /// The driver.
    pub driver: daemon::Component,
    /// Labels that are made, and what is odd about them.
    pub labels: daemon::Component,
    /// Leases: never not ready.
    pub leases: daemon::Component,
}

/// Looks again and again.
pub struct Discovery {
    /// What looks.
    pub looker: Looker,
    /// What flags say.
    pub flags: LabelFlags,
    /// What the config file says.
    pub config: watch::Receiver<InForce>,
    /// Counts the requests to look now.
    pub asked: watch::Receiver<u64>,
    /// Leases.
    pub leases: Leases,
    /// The device plugin: while it is there, its report tells of what events do.
    pub plugin: Plugin,
    /// Whether Node Feature Discovery says that there is a GPU; nothing until the Node was seen.
    pub nfd: watch::Receiver<Option<bool>>,
    /// Where leases are.
    pub lease_folder: LocalPath,
    /// Whether a driver that cannot be used at the start ends the program.
    pub fails_without_driver: bool,
    /// The file of the labels of before.
    pub kept: LocalPath,
    /// The file that names the report of the device plugin that counts no more.
    pub silenced: LocalPath,
    /// Where labels go.
    pub show: watch::Sender<Option<Arc<Shown>>>,
    /// Counts.
    pub metrics: Metrics,
    /// Readiness.
    pub components: Components,
}

/// What is remembered from one turn of the loop to the next.
#[derive(Default)]
struct Turn {
    /// The GPUs that are leased.
    leased: BTreeSet<GpuUuid>,
    /// When leases are looked for.
    pace: Pace,
    /// What of the driver may be asked.
    reach: Reach,
    /// The driver as it was seen last in this process.
    last: Option<DriverFacts>,
    /// The driver's events.
    events: Option<EventStream>,
    /// Whether the driver answered the last look.
    is_answering: bool,
    /// Whether the last look could read the PCI bus.
    has_bus: bool,
    /// When the last look ended.
    looked: Option<Instant>,
}

/// What one look came to.
pub struct Outcome {
    /// What there is to show; its generation is not decided yet.
    pub shown: Shown,
    /// Why the driver was not asked, or did not answer.
    pub away: Option<Away>,
    /// GPUs that were missed and are labelled as before.
    pub missed: Vec<GpuUuid>,
    /// Whether Node Feature Discovery has yet to say if there is a GPU, which nobody else knows.
    pub awaits_nfd: bool,
    /// What is odd, in words.
    pub remarks: Vec<String>,
}

/// Makes labels of a look.
pub fn judge(look: Look, plan: &Plan, memory: &mut Memory, now: Instant) -> Outcome {
    let Look { mut facts, driver, troubles: mut remarks } = look;
    let (mut missed, mut away) = (Vec::new(), None);
    match driver {
        Ok(mut driver) => {
            missed = memory.complete(&mut driver, now);
            facts.driver = Some(driver);
        }
        Err(why) => away = Some(why),
    }
    let labelled = label(&facts, &plan.settings);
    remarks.extend(labelled.remarks);
    let labels = memory.settle(labelled.labels, &facts);
    let awaits_nfd = plan.settings.face == Face::Native
        && facts.pci.is_none()
        && facts.nfd.is_none()
        && !labels.contains_key(LABEL_GPU_PRESENT);
    let shown =
        Shown { generation: 0, labels, driver: facts.driver, away: away.as_ref().map(|away| away.code) };
    Outcome { shown, away, missed, awaits_nfd, remarks }
}

impl Discovery {
    /// Looks until a thread dies.
    ///
    /// # Errors
    /// When it does, and when there is no driver at the start and that is to end the program.
    pub async fn run(mut self) -> Result<(), DiscoveryEnded> {
        let mut memory = Memory::of(self.remembered().await?);
        let report_path = self.looker.report.as_path().to_owned();
        let mut report = FileWatch::new(report_path.clone());
        let mut report_seen = FileIdentity::of(&report_path).ok();
        self.leases.read(&self.looker.files, &mut self.plugin).await?;
        // The folder is there by now.
        let mut lease_files = FileWatch::new(self.lease_folder.join("any").as_path().to_owned());
        let mut seldom = beat(SELDOM);
        let mut due = Some(Instant::now());
        let (mut turn, mut is_first, mut last_remarks) = (Turn::default(), true, Vec::new());
        loop {
            let Some(config) = self.config.borrow_and_update().clone() else {
                if self.config.changed().await.is_err() {
                    return std::future::pending().await;
                }
                continue;
            };
            let now = Instant::now();
            let [is_due, heeds] = [due, turn.pace.due()].map(|at| at.is_some_and(|at| at <= now));
            // Before each look, and not for each of the driver's events, which may be thousands.
            let leases_changed = (is_due || heeds) && self.heed(&mut turn).await?;
            if leases_changed || is_due {
                let plan = self.flags.plan(&config);
                let (looker, driver) = (&self.looker, &self.components.driver);
                let mut look = looker.look(&plan, &turn.reach, &mut self.plugin, driver).await?;
                look.facts.nfd = *self.nfd.borrow_and_update();
                turn.has_bus = look.facts.pci.is_some();
                let outcome = judge(look, &plan, &mut memory, Instant::now());
                if let Some(away) = outcome.away.as_ref().filter(|away| is_first && away.code != "leased")
                    && self.fails_without_driver
                {
                    return Err(DiscoveryEnded::NoDriver { reason: away.reason.clone() });
                }
                is_first = false;
                turn.is_answering = outcome.away.is_none();
                if let Some(driver) = &outcome.shown.driver {
                    turn.last = Some(driver.clone());
                }
                let pause = self.pause(&plan, &outcome);
                turn.looked = Some(Instant::now());
                due = pause.map(|pause| Instant::now() + pause);
                if last_remarks != outcome.remarks {
                    for remark in &outcome.remarks {
                        tracing::warn!(remark, "labels");
                    }
                    last_remarks.clone_from(&outcome.remarks);
                }
                self.tell(&outcome, memory.labels().is_some());
                // First, so that what was shown once is known to the next process, whenever this one is killed.
                self.keep(&memory).await?;
                // Until it is known, what an earlier process showed stays.
                if !outcome.awaits_nfd {
                    self.publish(outcome.shown);
                }
            }
            self.watch_events(&mut turn);
            let heed_due = turn.pace.due();
            let silence = self.plugin.due();
            let now = Some(Instant::now());
            tokio::select! {
                () = until(due) => {}
                changed = self.config.changed() => if changed.is_err() {
                    return std::future::pending().await;
                } else {
                    due = now;
                },
                Ok(()) = self.asked.changed() => due = now,
                () = report.changed() => {
                    // Its folder holds other files, too.
                    let newest = FileIdentity::of(&report_path).ok();
                    if std::mem::replace(&mut report_seen, newest) != newest {
                        due = now;
                    }
                }
                event = next_event(&mut turn.events) => {
                    let event = event.ok_or(LookEnded::Nvml)?;
                    let wanted = turn.next_look();
                    if due.is_none_or(|due| wanted < due) {
                        tell_event(&event);
                        due = Some(wanted);
                    }
                }
                Ok(()) = self.nfd.changed(), if !turn.has_bus => due = now,
                () = until(silence) => due = now,
                () = lease_files.changed() => turn.pace.told(Instant::now()),
                _ = seldom.tick() => turn.pace.told(Instant::now()),
                () = until(heed_due) => {}
            }
        }
    }

    /// Looks for leases, and lets go of the GPUs that are leased. Gives whether others are than before.
    async fn heed(&mut self, turn: &mut Turn) -> Result<bool, DiscoveryEnded> {
        self.leases.read(&self.looker.files, &mut self.plugin).await?;
        let leased = self.leases.gpus();
        let is_changed = leased != turn.leased;
        if is_changed {
            turn.reach = Reach::beside(&leased, turn.last.as_ref());
            turn.leased = leased;
            self.looker.nvml.confine(turn.reach.confines_to());
        }
        // What the workers know of a GPU is from before its lease.
        if is_changed || self.leases.is_awaited() {
            turn.events = None;
            match timeout(PATIENCE, self.looker.nvml.release()).await {
                Ok(Ok(())) => self.leases.acknowledge(&self.looker.files).await?,
                Ok(Err(_)) => return Err(LookEnded::Nvml.into()),
                // Whoever waits for the lease goes on waiting, and it is tried again.
                Err(_) => {
                    tracing::warn!(waited = ?PATIENCE, "a worker that hangs in the driver has not let go of it")
                }
            }
        }
        turn.pace.looked(!turn.leased.is_empty(), self.leases.has_failed(), Instant::now());
        let leases = self.leases.in_words();
        let said: Vec<&str> =
            leases.as_deref().into_iter().chain(self.leases.troubles().iter().map(String::as_str)).collect();
        if said.is_empty() {
            self.components.leases.ready();
        } else {
            self.components.leases.ready_but(said.join("; "));
        }
        Ok(is_changed)
    }

    /// Watches the driver's events where nobody else tells of what they bring; a worker more has the library for that. None
    /// has while somebody waits for this daemon to let go.
    fn watch_events(&self, turn: &mut Turn) {
        let is_worth_while = turn.is_answering
            && !self.plugin.is_there()
            && !self.leases.is_awaited()
            && !matches!(turn.reach, Reach::Nothing);
        match (is_worth_while, turn.events.is_some()) {
            (true, false) => turn.events = Some(self.looker.nvml.events()),
            (false, true) => turn.events = None,
            _ => {}
        }
    }

    fn pause(&self, plan: &Plan, outcome: &Outcome) -> Option<Duration> {
        let every = match plan.sleep {
            SleepInterval::Every(pause) => Some(pause),
            SleepInterval::Infinite => None,
        };
        let is_away = outcome.away.as_ref().is_some_and(|away| away.code != "leased");
        if is_away || !outcome.missed.is_empty() {
            return Some(every.map_or(RETRY, |pause| pause.min(RETRY)));
        }
        every
    }

    fn tell(&self, Outcome { shown, away, missed, remarks, .. }: &Outcome, remembers: bool) {
        let Components { driver, labels, .. } = &self.components;
        match away {
            // Whoever leased it knows.
            Some(Away { code: "leased", reason }) => driver.ready_but(reason.clone()),
            Some(Away { code, reason }) => {
                let kept = if remembers { "; labels stay as they were" } else { "" };
                driver.not_ready(*code, format!("{reason}{kept}"));
            }
            None if !missed.is_empty() => {
                let missed: Vec<&str> = missed.iter().map(GpuUuid::as_str).collect();
                driver.ready_but(format!("labelled as before, since not found: {}", missed.join(", ")));
            }
            None => driver.ready(),
        }
        if remarks.is_empty() {
            labels.ready();
        } else {
            labels.ready_but(remarks.join("; "));
        }
        let result = match away {
            Some(away) => away.code,
            None if !missed.is_empty() => "partial",
            None => "ok",
        };
        self.metrics.looked(result, shown.labels.len());
    }

    fn publish(&self, mut shown: Shown) {
        let last = self.show.borrow().clone();
        shown.generation = last.as_ref().map_or(1, |last| last.generation);
        if last.as_deref() == Some(&shown) {
            return;
        }
        if let Some(last) = &last {
            shown.generation += 1;
            let gone = last.labels.keys().filter(|key| !shown.labels.contains_key(*key)).count();
            let new =
                shown.labels.iter().filter(|(key, value)| last.labels.get(*key) != Some(*value)).count();
            if gone + new > 0 {
                tracing::info!(new, gone, generation = shown.generation, "labels changed");
                self.metrics.changed();
            }
        }
        self.show.send_replace(Some(Arc::new(shown)));
    }

    async fn remembered(&self) -> Result<Option<Labels>, FilesGone> {
        let path = self.kept.clone();
        self.looker.files.run(move || kept::read(&path)).await
    }

    /// Keeps the labels for the next process, and which report counts no more, unless they are kept already.
    async fn keep(&self, memory: &Memory) -> Result<(), FilesGone> {
        let labels = memory.labels().cloned();
        let silenced = self.plugin.silenced().map(str::to_owned);
        let (path, silenced_path) = (self.kept.clone(), self.silenced.clone());
        let done = self.looker.files.run(move || {
            if let Some(labels) = labels.filter(|labels| kept::read(&path).as_ref() != Some(labels)) {
                atomic::make_folder_of(&path)?;
                kept::write(&path, &labels)?;
            }
            kept::silence(&silenced_path, silenced.as_deref())
        });
        if let Err(problem) = done.await? {
            tracing::warn!(problem, "labels cannot be kept for the next start");
        }
        Ok(())
    }
}

impl Turn {
    /// When to look after an event.
    fn next_look(&self) -> Instant {
        let now = Instant::now();
        self.looked.map_or(now, |looked| (looked + EVENT_GAP).max(now))
    }
}

/// Tells the first of the events that lead to a look.
fn tell_event(event: &Event) {
    match event {
        Event::Gap { reason } => tracing::info!(reason, "events may have been missed"),
        Event::MigChange { gpu } => tracing::info!(%gpu, "the MIG mode or instances changed"),
        Event::Xid { gpu, xid, .. } => tracing::info!(%gpu, xid, "the driver reported an XID"),
    }
}
