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

use crate::held::{Answer, Belief, Forgotten, Granted, Held, Ids, collect};
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

/// What is kept for the next process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Kept {
    held: Held,
    /// The containers that hold it.
    holders: BTreeSet<String>,
}

/// The answer, and the socket that it came from.
type Asking = Pin<Box<dyn Future<Output = Result<(Answer, Option<FileIdentity>), AskError>> + Send>>;

impl Holders {
    /// Keeps them for ever.
    ///
    /// # Errors
    /// When the thread for file work has died.
    pub async fn run(mut self) -> Result<(), FilesGone> {
        let mut written = self.restore().await?;
        let Kept { held, holders } = written.clone();
        let mut belief = Belief::new(held.ids.clone(), holders);
        self.holdings.send_modify(|holdings| {
            holdings.ids = held.ids.clone();
            holdings.kept = held;
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
                        Ok((answer, its_socket)) => {
                            self.tell_answered();
                            let is_new_start = its_socket.is_none() || its_socket != socket;
                            socket = its_socket;
                            self.tell_forgotten(&belief.answered(answer, is_new_start, now));
                            let held = written.held.clone();
                            self.keep(&mut written, held, &belief).await?;
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
                    self.keep(&mut written, held, &belief).await?;
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
    /// same of containers that run on, and gives their devices to others.
    fn tell_forgotten(&self, forgotten: &Forgotten) {
        let devices = forgotten.ids.values().map(BTreeSet::len).sum::<usize>();
        self.metrics.forgotten(devices);
        if let Some(container) = forgotten.bereft.first() {
            tracing::warn!(
                devices,
                containers = forgotten.bereft.len(),
                "after its start the kubelet knows of no container that holds any, and containers that held some are still there, such as {container}: it has lost its checkpoint, and may give what they use to others"
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
    async fn restore(&self) -> Result<Kept, FilesGone> {
        let Some(boot) = self.boot.clone() else { return Ok(Kept::default()) };
        let path = self.settings.file.clone();
        self.files.run(move || restore(&path, &boot)).await
    }

    /// Keeps `held` with who holds it, unless that is `written` already.
    async fn keep(&self, written: &mut Kept, held: Held, belief: &Belief) -> Result<(), FilesGone> {
        let kept = Kept { held, holders: belief.holders().clone() };
        let Some(boot) = self.boot.clone().filter(|_| kept != *written) else { return Ok(()) };
        written.clone_from(&kept);
        let path = self.settings.file.clone();
        let file = HeldFile::new(boot, kept.held.ids, kept.held.mig_gpus, kept.holders);
        if let Err(error) = self.files.run(move || keep(&path, file)).await? {
            tracing::warn!(error, "what pods hold cannot be kept for the next start");
        }
        Ok(())
    }
}

fn restore(path: &LocalPath, boot: &BootId) -> Kept {
    match HeldFile::read(path) {
        // What was held before the machine started anew, nobody uses; the kubelet tells what its pods get back.
        Ok(mended) if mended.file.boot_id != *boot => Kept::default(),
        Ok(Mended { file: HeldFile { held, mig_gpus, holders, .. }, unread }) => {
            for error in unread {
                let error = daemon::error_chain(&error).to_string();
                tracing::warn!(
                    error,
                    "of what pods held, this cannot be read, and is not known until the kubelet answers"
                );
            }
            Kept { held: Held { ids: held, mig_gpus }, holders }
        }
        Err(error) => {
            if !error.is_missing() {
                let aside = node_contract::set_aside(path);
                let error = daemon::error_chain(&error).to_string();
                tracing::warn!(error, aside, "what pods held is not known until the kubelet answers");
            }
            Kept::default()
        }
    }
}

fn keep(path: &LocalPath, file: HeldFile) -> Result<(), String> {
    atomic::make_folder_of(path)?;
    file.write(path).map_err(|error| daemon::error_chain(&error).to_string())
}

async fn ask(socket: PathBuf) -> Result<(Answer, Option<FileIdentity>), AskError> {
    // Looked at first: if the kubelet starts anew meanwhile, the next answer is told from this one.
    let identity = FileIdentity::of(&socket).ok();
    let mut answer = Answer::default();
    for pod in pod_resources::pods(&socket).await? {
        for container in pod.containers {
            let mut held = Ids::new();
            for devices in container.devices {
                devices.device_ids.into_iter().for_each(|id| collect(&mut held, &devices.resource_name, id));
            }
            let names = if held.is_empty() { &mut answer.others } else { &mut answer.holders };
            names.insert(format!("{}/{}/{}", pod.namespace, pod.name, container.name));
            for (resource, ids) in held {
                answer.ids.entry(resource).or_default().extend(ids);
            }
        }
    }
    Ok((answer, identity))
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
