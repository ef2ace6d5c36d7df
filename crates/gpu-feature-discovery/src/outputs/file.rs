//! A file that Node Feature Discovery reads (`features.d`): replaced whole, and left there when the program ends.
//!
//! A header tells when the labels expire, so that those of a program that is gone for good do, too; it is renewed long before.

use std::sync::Arc;
use std::time::Duration;

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

/// How often the header is renewed.
const RENEWAL: Duration = Duration::from_secs(60 * 60);

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

impl FeatureFile {
    /// Keeps it until nobody shows labels any more.
    ///
    /// # Errors
    /// When the thread for file work has died.
    pub async fn follow(self, mut shown: Receiver<Option<Arc<Shown>>>) -> Result<(), FilesGone> {
        let mut last: Option<Labels> = None;
        let mut is_due = false;
        loop {
            let newest = shown.borrow_and_update().clone();
            let mut pause = RENEWAL;
            if let Some(newest) = newest
                && (is_due || last.as_ref() != Some(&newest.labels))
            {
                let labels = newest.labels.clone();
                let (path, expires) = (self.path.clone(), self.expires);
                let expiry = move || Timestamp::now().checked_add(HOLDS).ok().filter(|_| expires);
                let done = self.files.run(move || write(&path, &labels, expiry()).map(|()| labels));
                match done.await? {
                    Ok(labels) => {
                        last = Some(labels);
                        self.metrics.written("file", "ok");
                        self.component.ready();
                    }
                    Err(problem) => {
                        self.metrics.written("file", "failed");
                        self.component.not_ready("file-not-written", problem);
                        pause = RETRY;
                    }
                }
                is_due = false;
            }
            tokio::select! {
                changed = shown.changed() => if changed.is_err() {
                    return std::future::pending().await;
                },
                () = sleep(pause), if self.expires || pause == RETRY => is_due = true,
            }
        }
    }
}
