//! Asks the kubelet which pods hold what, and keeps the answer for the next process. Knows the pod resources protocol and
//! the kept file; what follows from an answer is for `held` and `staging`.
//!
//! The device plugin protocol tells of no release. The kubelet is asked in the background: at the start, a moment after
//! each grant, often while somebody waits for a release, and seldom otherwise. Nothing waits for it but the very first
//! list, and that not for long.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::pin::Pin;
use std::time::{Duration, Instant};

use daemon::absent::{finish, until};
use daemon::beat;
use daemon::files::{Files, FilesGone};
use node_contract::{HeldFile, Mended};
use node_host::{BootId, FileIdentity, LocalPath, atomic};
use tokio::sync::{mpsc, watch};

use crate::held::{Belief, Granted, Held, Ids, collect};
use crate::metrics::Metrics;
use crate::pod_resources::{self, AskError};

/// How often the kubelet is asked when nothing is awaited.
const SELDOM: Duration = Duration::from_secs(30);

/// How often it is asked while something is.
const OFTEN: Duration = Duration::from_secs(2);

/// From a grant to the question: by then the kubelet has noted it down, and more grants may have come.
const AFTER_GRANT: Duration = Duration::from_secs(1);

/// Where the kubelet answers, and where the answer is kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its pod resources socket.
    pub socket: PathBuf,
    /// The kept file.
    pub file: LocalPath,
}

/// What pods hold, as the observer reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Whether the kubelet was asked once, with or without success.
    pub is_settled: bool,
    /// Ids of GPUs and MIG devices that pods hold, of whatever plugin.
    pub ids: Ids,
    /// What the last process knew of held MIG devices' GPUs, and by its resources which ids were its own.
    pub kept: Held,
}

/// What the observer makes of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// What is held of our own resources: to be kept.
    pub held: Held,
    /// Whether something waits for a release.
    pub is_waiting: bool,
}

/// Keeps the holdings up to date.
pub struct Holders {
    /// Where things are.
    pub settings: Settings,
    /// This boot; without it nothing is kept.
    pub boot: Option<BootId>,
    /// What was granted.
    pub granted: mpsc::UnboundedReceiver<Granted>,
    /// Counts the requests to look at everything now.
    pub asked: watch::Receiver<u64>,
    /// What becomes of the holdings.
    pub used: watch::Receiver<Use>,
    /// Where the holdings go.
    pub holdings: watch::Sender<Holdings>,
    /// A thread for file work.
    pub files: Files,
    /// Counts.
    pub metrics: Metrics,
    /// Readiness: never not ready, since all else works without.
    pub component: daemon::Component,
}

struct Answer {
    ids: Ids,
    socket: Option<FileIdentity>,
}

type Asking = Pin<Box<dyn Future<Output = Result<Answer, AskError>> + Send>>;

impl Holders {
    /// Keeps them for ever.
    ///
    /// # Errors
    /// When the thread for file work has died.
    pub async fn run(mut self) -> Result<(), FilesGone> {
        let kept = self.restore().await?;
        let mut written = kept.clone();
        let mut belief = Belief::new(kept.ids.clone());
        self.holdings.send_modify(|holdings| {
            holdings.ids = kept.ids.clone();
            holdings.kept = kept;
        });
        let (mut seldom, mut often) = (beat(SELDOM), beat(OFTEN));
        let mut socket = None;
        let mut due = Some(Instant::now());
        let mut asking: Option<Asking> = None;
        loop {
            if asking.is_none() && due.is_some_and(|due| due <= Instant::now()) {
                due = None;
                asking = Some(Box::pin(ask(self.settings.socket.clone())));
            }
            let is_awaited = self.used.borrow().is_waiting || belief.is_open();
            tokio::select! {
                answer = finish(&mut asking) => {
                    asking = None;
                    let now = Instant::now();
                    match answer {
                        Ok(answer) => {
                            self.tell_answered();
                            let is_new_start = answer.socket.is_none() || answer.socket != socket;
                            socket = answer.socket;
                            let forgotten = belief.answered(answer.ids, is_new_start, now);
                            self.tell_forgotten(&forgotten, &belief);
                        }
                        Err(error) => {
                            belief.unanswered(now);
                            self.tell_silent(&error);
                        }
                    }
                    self.publish(&belief);
                }
                granted = self.granted.recv() => {
                    let Some(granted) = granted else { return std::future::pending().await };
                    let now = Instant::now();
                    belief.granted(granted, now);
                    due = Some(due.unwrap_or(now + AFTER_GRANT));
                    self.publish(&belief);
                }
                Ok(()) = self.used.changed() => {
                    let Use { held, is_waiting } = self.used.borrow_and_update().clone();
                    if is_waiting {
                        // The last answer may be old, and what is held by it free by now.
                        due = Some(Instant::now());
                    }
                    if held != written {
                        written = held.clone();
                        self.keep(held).await?;
                    }
                }
                Ok(()) = self.asked.changed() => due = Some(Instant::now()),
                _ = seldom.tick() => due = Some(Instant::now()),
                _ = often.tick(), if is_awaited => due = Some(Instant::now()),
                () = until(due), if asking.is_none() => {}
            }
        }
    }

    fn publish(&self, belief: &Belief) {
        let ids = belief.ids();
        self.holdings.send_if_modified(|holdings| {
            let is_news = !holdings.is_settled || holdings.ids != ids;
            holdings.is_settled = true;
            holdings.ids = ids;
            is_news
        });
    }

    fn tell_answered(&self) {
        self.metrics.holders(true);
        self.component.ready();
    }

    /// What pods held before a start, and nobody does after it. Pods end meanwhile; but a kubelet that lost its checkpoint tells the
    /// same while their containers run on, and gives their devices to others.
    fn tell_forgotten(&self, forgotten: &Ids, belief: &Belief) {
        let devices = forgotten.values().map(BTreeSet::len).sum::<usize>();
        self.metrics.forgotten(devices);
        let is_all = belief.ids().values().all(BTreeSet::is_empty);
        if devices > 0 && is_all {
            tracing::warn!(
                devices,
                "after its start the kubelet knows of no pod that holds any: where containers still use them, it has lost its checkpoint, and may give them to others"
            );
        } else if devices > 0 {
            tracing::info!(
                devices,
                "pods that held devices before the start of the kubelet or of this process do not any more"
            );
        }
    }

    fn tell_silent(&self, error: &AskError) {
        self.metrics.holders(false);
        let reason = daemon::error_chain(error).to_string();
        tracing::debug!(reason, "the kubelet does not tell who holds what");
        self.component.ready_but(format!(
            "which pods hold which devices is not known: {reason}; a device that a pod holds may vanish from the list when the config or MIG devices change"
        ));
    }

    /// What the last process of this boot kept.
    async fn restore(&self) -> Result<Held, FilesGone> {
        let Some(boot) = self.boot.clone() else { return Ok(Held::default()) };
        let path = self.settings.file.clone();
        self.files.run(move || restore(&path, &boot)).await
    }

    async fn keep(&self, held: Held) -> Result<(), FilesGone> {
        let Some(boot) = self.boot.clone() else { return Ok(()) };
        let path = self.settings.file.clone();
        let kept = self.files.run(move || keep(&path, HeldFile::new(boot, held.ids, held.mig_gpus))).await?;
        if let Err(error) = kept {
            tracing::warn!(error, "what pods hold cannot be kept for the next start");
        }
        Ok(())
    }
}

fn restore(path: &LocalPath, boot: &BootId) -> Held {
    match HeldFile::read(path) {
        // What was held before the machine started anew, nobody uses; the kubelet tells what its pods get back.
        Ok(mended) if mended.file.boot_id != *boot => Held::default(),
        Ok(Mended { file: HeldFile { held, mig_gpus, .. }, unread }) => {
            for error in unread {
                let error = daemon::error_chain(&error).to_string();
                tracing::warn!(
                    error,
                    "of what pods held, this cannot be read, and is not known until the kubelet answers"
                );
            }
            Held { ids: held, mig_gpus }
        }
        Err(error) => {
            if !error.is_missing() {
                let aside = node_contract::set_aside(path);
                let error = daemon::error_chain(&error).to_string();
                tracing::warn!(error, aside, "what pods held is not known until the kubelet answers");
            }
            Held::default()
        }
    }
}

fn keep(path: &LocalPath, file: HeldFile) -> Result<(), String> {
    atomic::make_folder_of(path)?;
    file.write(path).map_err(|error| daemon::error_chain(&error).to_string())
}

async fn ask(socket: PathBuf) -> Result<Answer, AskError> {
    // Looked at first: if the kubelet starts anew meanwhile, the next answer is told from this one.
    let identity = FileIdentity::of(&socket).ok();
    let pods = pod_resources::pods(&socket).await?;
    let mut ids = Ids::new();
    for devices in pods.into_iter().flat_map(|pod| pod.containers).flat_map(|container| container.devices) {
        devices.device_ids.into_iter().for_each(|id| collect(&mut ids, &devices.resource_name, id));
    }
    Ok(Answer { ids, socket: identity })
}

impl Holdings {
    /// What is held of the resources that `is_ours` says are.
    pub fn of(&self, is_ours: impl Fn(&gpu_model::ResourceName) -> bool) -> Ids {
        let ours = self.ids.iter().filter(|(resource, ids)| is_ours(resource) && !ids.is_empty());
        ours.map(|(resource, ids)| (resource.clone(), ids.clone())).collect::<BTreeMap<_, _>>()
    }
}

#[cfg(test)]
mod tests;
