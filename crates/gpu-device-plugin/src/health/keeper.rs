//! Keeps the ledger of health over restarts, and takes people's requests about it.
//!
//! One process of a node does both, the one that holds the lock: where two instances overlap in an upgrade, the newer
//! one takes over when the older has gone, with what people said to it meanwhile. It does not know the rules: the
//! observer has the ledger, and answers requests.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::time::Duration;

use daemon::files::{Files, FilesGone, PATIENCE};
use file_watch::FileWatch;
use gpu_health::{Boot, Ledger, SavedLedger, Settings};
use node_contract::{HealthAnswer, HealthFile, HealthRequest, Mended};
use node_host::{BootId, LocalPath};
use rustix::fs::{FlockOperation, flock};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use super::HealthPaths;

/// Pause before the lock or the file is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    /// The ledger.
    pub ledger: SavedLedger,
    /// What became of the last requests, oldest first.
    pub answers: Vec<HealthAnswer>,
}

/// What the keeper asks of the observer.
#[derive(Debug)]
pub enum Ask {
    /// To do what a person wants, and to remember the answer.
    Request(Box<HealthRequest>),
    /// To take over what people said to the process that kept the ledger before.
    Adopt {
        /// What that process kept.
        theirs: Box<Kept>,
        /// Told when it was done, and is in what is to be kept.
        done: oneshot::Sender<()>,
    },
}

/// Keeps the newest of what the observer gives.
#[derive(Debug)]
pub struct Keeper {
    /// Where.
    pub paths: HealthPaths,
    /// The boot that runs.
    pub boot: BootId,
    /// What to keep.
    pub kept: watch::Receiver<Kept>,
    /// To the observer.
    pub asks: mpsc::Sender<Ask>,
    /// A thread of its own.
    pub files: Files,
    /// Never not ready: the kubelet is served from memory.
    pub component: daemon::Component,
}

/// The ledger of an earlier process, as far as it holds, and what became of the last requests. A file that cannot be
/// read is moved aside, and told.
pub fn restore(paths: &HealthPaths, boot: &BootId, settings: Settings) -> (Ledger, Kept) {
    let Mended { file, unread } = match HealthFile::read(&paths.kept) {
        Ok(mended) => mended,
        Err(error) => {
            if !error.is_missing() {
                let aside = node_contract::set_aside(&paths.kept);
                let error = daemon::error_chain(&error).to_string();
                tracing::error!(error, aside, "the health that was kept cannot be used: beginning afresh");
            }
            return (Ledger::new(settings), Kept::default());
        }
    };
    for error in unread {
        let error = daemon::error_chain(&error).to_string();
        tracing::error!(
            error,
            "of the health that was kept, this cannot be read: the GPU that it is about is Unhealthy until the node is booted, or until `gpu-device-plugin health clear`"
        );
    }
    let same = if file.boot_id == *boot { Boot::Same } else { Boot::Other };
    let ledger = Ledger::restored(settings, file.ledger, same);
    let kept = Kept { ledger: ledger.saved().clone(), answers: file.answers };
    (ledger, kept)
}

impl Keeper {
    /// Keeps for ever.
    ///
    /// # Errors
    /// When the thread for file work has died.
    pub async fn run(mut self) -> Result<(), FilesGone> {
        // With the lock, a watch on the folder, which is there then.
        let mut lock: Option<(File, FileWatch)> = None;
        let mut written: Option<Kept> = None;
        let mut sent = BTreeSet::new();
        let mut was_refused = false;
        let mut told = None;
        loop {
            let mut trouble: Option<String> = None;
            if lock.is_none() {
                let paths = self.paths.clone();
                match self.files(move || take_lock(&paths)).await? {
                    Ok(Some(taken)) => {
                        lock = Some((taken, FileWatch::new(self.paths.requests.join("any").into())));
                        if was_refused {
                            self.adopt().await?;
                        }
                    }
                    Ok(None) => was_refused = true,
                    Err(error) => trouble = Some(error),
                }
            }
            if lock.is_some() {
                let kept = self.kept.borrow_and_update().clone();
                if written.as_ref() != Some(&kept) {
                    match self.write(kept.clone()).await? {
                        Ok(()) => written = Some(kept),
                        Err(error) => trouble = Some(error),
                    }
                }
                if let Some(written) = &written {
                    self.take_requests(written, &mut sent).await?;
                }
            }
            if told != trouble {
                // Each trouble once.
                if let Some(trouble) = &trouble {
                    tracing::warn!(trouble, "health is not kept over a restart");
                }
                told.clone_from(&trouble);
            }
            self.tell(lock.is_some(), trouble.as_deref());
            let is_waiting = lock.is_none() || trouble.is_some();
            tokio::select! {
                changed = self.kept.changed(), if !is_waiting => if changed.is_err() {
                    // Who ended it says why.
                    return std::future::pending().await;
                },
                () = requested(&mut lock) => {}
                () = sleep(RETRY), if is_waiting => {}
            }
        }
    }

    fn tell(&self, holds: bool, trouble: Option<&str>) {
        match (holds, trouble) {
            (_, Some(trouble)) => {
                self.component.ready_but(format!("health is not kept over a restart: {trouble}"));
            }
            (false, None) => {
                self.component.ready_but("another instance of the plugin keeps the health of the GPUs");
            }
            (true, None) => self.component.ready(),
        }
    }

    async fn files<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, FilesGone> {
        let mut work = std::pin::pin!(self.files.run(work));
        if let Ok(done) = timeout(PATIENCE, &mut work).await {
            return done;
        }
        self.component
            .ready_but("health is not kept over a restart: a write has not ended; perhaps a disk hangs");
        work.await
    }

    async fn write(&self, kept: Kept) -> Result<Result<(), String>, FilesGone> {
        let file = HealthFile::new(self.boot.clone(), kept.ledger, kept.answers);
        let path = self.paths.kept.clone();
        self.files(move || file.write(&path).map_err(|error| daemon::error_chain(&error).to_string())).await
    }

    /// What people said to the process that has just gone.
    async fn adopt(&self) -> Result<(), FilesGone> {
        let path = self.paths.kept.clone();
        if let Ok(Mended { file: HealthFile { boot_id, ledger, answers, .. }, .. }) =
            self.files(move || HealthFile::read(&path)).await?
            && boot_id == self.boot
        {
            let (done, adopted) = oneshot::channel();
            let theirs = Box::new(Kept { ledger, answers });
            // Before it is written over. Without an observer the daemon is ending.
            if self.asks.send(Ask::Adopt { theirs, done }).await.is_ok() {
                let _ = adopted.await;
            }
        }
        Ok(())
    }

    /// Hands new requests to the observer, and removes those whose answer is kept.
    async fn take_requests(&self, written: &Kept, sent: &mut BTreeSet<String>) -> Result<(), FilesGone> {
        let folder = self.paths.requests.clone();
        let answered: BTreeSet<String> = written.answers.iter().map(|answer| answer.id.clone()).collect();
        let requests = self.files(move || waiting(&folder, &answered)).await?;
        sent.retain(|id| requests.iter().any(|request| request.id() == id));
        for request in requests {
            if sent.insert(request.id().to_owned()) {
                let _ = self.asks.send(Ask::Request(Box::new(request))).await;
            }
        }
        Ok(())
    }
}

/// Waits until there may be a new request; for ever without the lock.
async fn requested(lock: &mut Option<(File, FileWatch)>) {
    match lock {
        Some((_, watch)) => watch.changed().await,
        None => std::future::pending().await,
    }
}

/// Takes the lock, if nobody has it. Makes the folders.
fn take_lock(paths: &HealthPaths) -> Result<Option<File>, String> {
    let folder = |path: &LocalPath, mode: u32| {
        let made = fs::DirBuilder::new().recursive(true).mode(mode).create(path);
        made.map_err(|error| format!("cannot make {path}: {error}"))
    };
    if let Some(parent) = paths.lock.parent() {
        folder(&parent, 0o755)?;
    }
    folder(&paths.requests, 0o700)?;
    let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&paths.lock);
    let file = opened.map_err(|error| format!("cannot open {}: {error}", paths.lock))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(format!("cannot lock {}: {error}", paths.lock)),
    }
}

/// The requests in `folder` that have no answer yet; those that have one, and files that are none, are removed.
fn waiting(folder: &LocalPath, answered: &BTreeSet<String>) -> Vec<HealthRequest> {
    let paths = HealthRequest::waiting(folder).unwrap_or_else(|error| {
        tracing::warn!(%folder, %error, "requests about health cannot be looked for");
        Vec::new()
    });
    let mut requests = Vec::new();
    for path in paths {
        match HealthRequest::read(&path) {
            Ok(request) if !answered.contains(request.id()) => requests.push(request),
            Ok(_) => drop(fs::remove_file(&path)),
            Err(error) => {
                let error = daemon::error_chain(&error).to_string();
                tracing::warn!(error, "a request about health cannot be used, and is removed");
                drop(fs::remove_file(&path));
            }
        }
    }
    requests
}
