//! Leases of GPUs, as this daemon heeds them. It reads the folder of leases and asks the kubelet; what the observer makes
//! of a lease, and NVML, it does not know.
//!
//! ```text
//!   lease -> Claims.leased --> observer: Unhealthy(reconfiguring) --> Yielded --> the kubelet's streams have the list
//!     -> the kubelet counts none of its devices, and tells which pods hold some
//!     -> Claims.let_go --> observer: workers ended, GPUs left alone --> Yielded.released --> acknowledgement
//!   no lease -> Claims without it --> observer: seen anew, then listed again
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::pin::Pin;
use std::time::{Duration, Instant};

use daemon::absent::{finish, until};
use daemon::files::{Files, FilesGone};
use file_watch::FileWatch;
use gpu_model::{GpuUuid, ResourceName};
use node_contract::{Acknowledgement, HeededLeases, Lease, LeaseFolder, Observed, Pace};
use node_host::BootId;
use tokio::sync::watch;

use crate::config::Instance;
use crate::health::now;
use crate::holders::Holdings;
use crate::metrics::Metrics;
use crate::pod_resources::{self, AskError, Books};

pub mod command;
mod interrupt;
mod places;
mod progress;

pub use places::LeasePlaces;
use progress::{Look, Progress, Step};

/// How often the folder is looked at while something could not be done. Otherwise inotify tells.
const SELDOM: Duration = Duration::from_secs(10);

/// Pause between two questions to the kubelet while a lease waits for it.
const SOON: Duration = Duration::from_millis(250);

/// The same once it is acknowledged, as long as pods hold something.
const LATER: Duration = Duration::from_secs(2);

/// What leases want of the observer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// Whether the leases were looked for once.
    pub is_read: bool,
    /// GPUs that are leased: no work is to be placed on them.
    pub leased: BTreeSet<GpuUuid>,
    /// Those of them that are to be left alone altogether.
    pub let_go: BTreeSet<GpuUuid>,
}

/// How far the observer is with that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Yielded {
    /// Leased GPUs of which the lists say so, or that are in no list.
    pub told: BTreeSet<GpuUuid>,
    /// The units by which devices of each of them are named: itself, and its MIG devices.
    pub units: BTreeMap<GpuUuid, BTreeSet<String>>,
    /// The generation of each list that has some of them.
    pub lists: BTreeMap<ResourceName, u64>,
    /// GPUs on which this daemon has no handle any more.
    pub released: BTreeSet<GpuUuid>,
}

/// The generation of the list that the kubelet's stream of each resource has.
pub type HandedLists = BTreeMap<ResourceName, u64>;

/// Heeds the leases.
pub struct Leases {
    /// Where they are.
    pub folder: LeaseFolder,
    /// What tells this process from any other one.
    pub instance: Instance,
    /// This boot; without it nobody knows which leases count.
    pub boot: Option<BootId>,
    /// The kubelet's pod resources socket.
    pub kubelet: PathBuf,
    /// To the observer.
    pub claims: watch::Sender<Claims>,
    /// From the observer.
    pub yielded: watch::Receiver<Yielded>,
    /// What the kubelet's streams have.
    pub handed: watch::Receiver<HandedLists>,
    /// What pods hold, for when the kubelet does not tell.
    pub holdings: watch::Receiver<Holdings>,
    /// A thread for file work.
    pub files: Files,
    /// Counts.
    pub metrics: Metrics,
    /// Readiness: never not ready.
    pub component: daemon::Component,
}

type Asking = Pin<Box<dyn Future<Output = (Instant, Result<Books, AskError>)> + Send>>;

/// One lease that counts.
struct Live {
    lease: Lease,
    progress: Progress,
    acknowledged: Option<Observed>,
}

/// What is kept in between.
#[derive(Default)]
struct Heeding {
    leases: HeededLeases<Live>,
    look: Option<Look>,
    /// When the kubelet was asked last.
    asked: Option<Instant>,
    /// What cannot be done, in words.
    trouble: Vec<String>,
    /// Troubles that were logged.
    told: Vec<String>,
}

impl Leases {
    /// Heeds them for ever.
    ///
    /// # Errors
    /// When the thread for file work has died.
    pub async fn run(mut self) -> Result<(), FilesGone> {
        let mut heeding = Heeding::default();
        // This makes the folder. A lease that comes before the watch is seen by the next look.
        self.read(&mut heeding).await?;
        let mut pace = Pace::default();
        pace.told(Instant::now());
        let mut folder = FileWatch::new(self.folder.path().join("any").into());
        let mut asking: Option<Asking> = None;
        loop {
            let is_due = pace.due().is_some_and(|due| due <= Instant::now());
            if is_due {
                self.read(&mut heeding).await?;
            }
            self.advance(&mut heeding).await?;
            if is_due {
                // What fails writes to the folder, too.
                pace.looked(!heeding.leases.is_empty(), !heeding.trouble.is_empty(), Instant::now());
            }
            self.tell(&mut heeding);
            let next_question = heeding.next_question().filter(|_| asking.is_none());
            if next_question.is_some_and(|due| due <= Instant::now()) {
                heeding.asked = Some(Instant::now());
                asking = Some(ask(self.kubelet.clone()));
                continue;
            }
            let seldom = (!heeding.trouble.is_empty()).then(|| Instant::now() + SELDOM);
            tokio::select! {
                () = folder.changed() => pace.told(Instant::now()),
                () = until(pace.due()) => {}
                () = until(seldom) => pace.told(Instant::now()),
                () = until(next_question) => {}
                (begun, answer) = finish(&mut asking) => {
                    asking = None;
                    heeding.look = Some(Look::new(begun, answer));
                }
                changed = self.yielded.changed() => if changed.is_err() {
                    // Who ended it says why.
                    return std::future::pending().await;
                },
                Ok(()) = self.handed.changed(), if !heeding.leases.is_empty() => {}
            }
        }
    }

    /// Looks which leases count now. The sign that this daemon is there comes before the first look.
    async fn read(&self, heeding: &mut Heeding) -> Result<(), FilesGone> {
        let is_present = heeding.leases.presence().is_some();
        let (folder, name, boot) = (self.folder.clone(), self.instance.presence(), self.boot.clone());
        let look = self.files.run(move || folder.look(&name, is_present, boot.as_ref(), now())).await?;
        let heeded = heeding.leases.take(look, Live::new);
        heeding.trouble =
            heeded.troubles.iter().map(|trouble| daemon::error_chain(trouble).to_string()).collect();
        for Live { lease: Lease { id, purpose, who, .. }, .. } in heeded.over {
            tracing::info!(lease = id, purpose, who, "lease over; its GPUs are seen anew");
        }
        let leased: BTreeSet<GpuUuid> =
            heeding.leases.values().flat_map(|live| live.lease.gpus.iter().cloned()).collect();
        self.claims.send_if_modified(|claims| {
            let mut next = Claims { is_read: true, leased, let_go: claims.let_go.clone() };
            next.let_go.retain(|gpu| next.leased.contains(gpu));
            let is_news = *claims != next;
            *claims = next;
            is_news
        });
        Ok(())
    }

    /// Takes every lease as far as it goes now.
    async fn advance(&mut self, heeding: &mut Heeding) -> Result<(), FilesGone> {
        let Heeding { leases, look, trouble, .. } = heeding;
        let yielded = self.yielded.borrow_and_update().clone();
        let handed = self.handed.borrow_and_update().clone();
        let (leases, presence) = leases.parts_mut();
        for (id, live) in leases {
            let gpus = &live.lease.gpus;
            let step = live.progress.advance(gpus, &yielded, &handed, look.as_ref(), Instant::now());
            if step >= Step::LettingGo {
                self.claims.send_if_modified(|claims| {
                    let before = claims.let_go.len();
                    claims.let_go.extend(gpus.iter().cloned());
                    claims.let_go.len() != before
                });
            }
            let Some(presence) = presence.filter(|_| step == Step::Done) else { continue };
            let observed = live.progress.observed(gpus, &yielded, look.as_ref(), &self.holdings.borrow());
            if live.acknowledged.as_ref() == Some(&observed) {
                continue;
            }
            let acknowledgement = Acknowledgement::new(id, presence, observed.clone());
            let folder = self.folder.clone();
            match self.files.run(move || folder.acknowledge(&acknowledgement)).await? {
                Ok(()) => {
                    if live.acknowledged.is_none() {
                        let Lease { purpose, who, .. } = &live.lease;
                        tracing::info!(lease = id, purpose, who, held = observed.held, "lease acknowledged");
                        self.metrics.lease_acknowledged();
                    }
                    live.acknowledged = Some(observed);
                }
                Err(error) => trouble
                    .push(format!("lease {id} cannot be acknowledged: {}", daemon::error_chain(&error))),
            }
        }
        Ok(())
    }

    /// Says on `/ready` and in the metrics what is leased, and how far it is.
    fn tell(&self, heeding: &mut Heeding) {
        for trouble in heeding.trouble.iter().filter(|trouble| !heeding.told.contains(trouble)) {
            tracing::warn!(trouble, "leases");
        }
        heeding.told.clone_from(&heeding.trouble);
        let acknowledged = heeding.leases.values().filter(|live| live.acknowledged.is_some()).count();
        self.metrics.leases(
            self.claims.borrow().leased.len(),
            acknowledged,
            heeding.leases.values().count().saturating_sub(acknowledged),
        );
        let leases = heeding.leases.values().map(Live::in_words);
        let said: Vec<String> = leases.chain(heeding.trouble.iter().cloned()).collect();
        if said.is_empty() {
            self.component.ready();
        } else {
            self.component.ready_but(said.join("; "));
        }
    }
}

impl Heeding {
    /// When the kubelet is to be asked next, if at all.
    fn next_question(&self) -> Option<Instant> {
        let pauses = self.leases.values().filter_map(Live::pause);
        let pause = pauses.min()?;
        Some(self.asked.map_or_else(Instant::now, |asked| asked + pause))
    }
}

impl Live {
    fn new(lease: Lease) -> Live {
        let Lease { id, purpose, who, gpus, expires_at, .. } = &lease;
        tracing::warn!(lease = id, purpose, who, ?gpus, %expires_at, "GPUs are leased");
        Live { lease, progress: Progress::default(), acknowledged: None }
    }

    fn pause(&self) -> Option<Duration> {
        match &self.acknowledged {
            None => self.progress.awaits_kubelet().then_some(SOON),
            Some(observed) => (observed.held > 0 || observed.unconfirmed.is_some()).then_some(LATER),
        }
    }

    fn in_words(&self) -> String {
        let Lease { id, purpose, who, gpus, expires_at, .. } = &self.lease;
        let gpus: Vec<&str> = gpus.iter().map(GpuUuid::as_str).collect();
        let stands = match &self.acknowledged {
            None => self.progress.in_words(),
            Some(observed) if observed.held > 0 => {
                format!("acknowledged; pods hold {} of its devices", observed.held)
            }
            Some(_) => "acknowledged".to_owned(),
        };
        format!("{} leased by {who} until {expires_at:.0}: {purpose} (lease {id}: {stands})", gpus.join(", "))
    }
}

fn ask(socket: PathBuf) -> Asking {
    Box::pin(async move {
        let begun = Instant::now();
        (begun, pod_resources::books(socket).await)
    })
}
