//! A file that Node Feature Discovery reads (`features.d`): replaced whole, and left there when the program ends.
//!
//! A header tells when the labels expire, so that those of a program that is gone for good do, too; it is renewed long before,
//! and when the wall clock, by which Node Feature Discovery reads it, was set otherwise.

use std::sync::Arc;
use std::time::Duration;

use daemon::beat;
use daemon::files::{Files, FilesGone};
use jiff::{SignedDuration, Timestamp};
use node_host::{LocalPath, atomic};
use tokio::sync::watch::Receiver;
use tokio::time::sleep;

use super::plain;
use crate::discovery::Shown;
use crate::labels::Labels;
use crate::metrics::Metrics;

/// How long labels hold without a program that renews them. An upgrade, a broken driver and a node that is down take less.
const HOLDS: SignedDuration = SignedDuration::from_hours(24);

/// The header is renewed when so much of that is over.
const RENEWAL: SignedDuration = SignedDuration::from_hours(1);

/// How often the wall clock is looked at for that.
const CHECK: Duration = Duration::from_secs(10);

/// Pause after a write that failed.
const RETRY: Duration = Duration::from_secs(5);

/// Node Feature Discovery reads it, and whoever wants.
const MODE: u32 = 0o644;

/// Keeps the file.
pub struct FeatureFile {
    /// Where.
    pub path: LocalPath,
    /// Whether its header says when the labels expire, which NVIDIA's does not.
    pub expires: bool,
    /// A thread for it alone: its disk may hang.
    pub files: Files,
    /// Counts.
    pub metrics: Metrics,
    /// Readiness.
    pub component: daemon::Component,
}

/// Writes the file.
///
/// # Errors
/// When it cannot be written, in words.
pub fn write(path: &LocalPath, labels: &Labels, expires: Option<Timestamp>) -> Result<(), String> {
    let head = expires.map(|at| format!("# +expiry-time={at:.0}\n")).unwrap_or_default();
    let text = format!("{head}{}", plain(labels));
    atomic::make_folder_of(path)?;
    atomic::write(path, text.as_bytes(), MODE).map_err(|error| daemon::error_chain(&error).to_string())
}

/// Whether labels that expire then do so in good time from now on.
fn is_good(expiry: Timestamp, now: Timestamp) -> bool {
    let left = expiry.duration_since(now);
    HOLDS - RENEWAL < left && left <= HOLDS
}

impl FeatureFile {
    /// Keeps it until nobody shows labels any more.
    ///
    /// # Errors
    /// When the thread for file work has died.
    pub async fn follow(self, mut shown: Receiver<Option<Arc<Shown>>>) -> Result<(), FilesGone> {
        let mut last: Option<(Labels, Option<Timestamp>)> = None;
        let mut checks = beat(CHECK);
        loop {
            let newest = shown.borrow_and_update().clone();
            let mut retry = None;
            let holds = |labels: &Labels| {
                last.as_ref().is_some_and(|(known, expiry)| {
                    known == labels && expiry.is_none_or(|expiry| is_good(expiry, Timestamp::now()))
                })
            };
            if let Some(newest) = newest.filter(|newest| !holds(&newest.labels)) {
                let labels = newest.labels.clone();
                let (path, expires) = (self.path.clone(), self.expires);
                let work = move || {
                    let expiry = Timestamp::now().checked_add(HOLDS).ok().filter(|_| expires);
                    write(&path, &labels, expiry).map(|()| (labels, expiry))
                };
                match self.files.run(work).await? {
                    Ok(written) => {
                        last = Some(written);
                        self.metrics.written("file", "ok");
                        self.component.ready();
                    }
                    Err(problem) => {
                        self.metrics.written("file", "failed");
                        self.component.not_ready("file-not-written", problem);
                        retry = Some(RETRY);
                    }
                }
            }
            tokio::select! {
                changed = shown.changed() => if changed.is_err() {
                    return std::future::pending().await;
                },
                () = sleep(retry.unwrap_or_default()), if retry.is_some() => {}
                _ = checks.tick(), if self.expires && retry.is_none() => {}
            }
        }
    }
}
