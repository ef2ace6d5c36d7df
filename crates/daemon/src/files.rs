//! The thread for file work that may wait for a disk: searches, synced writes, removals, one after the other. The
//! executor's threads answer the kubelet and never wait for any of it.
//!
//! The process does not wait for the thread either: work that hangs ends with it. Until then what comes after it on the
//! same thread waits, so whoever depends on it tells by [`told_when_stuck`], and what must not wait has its own thread.

use std::sync::mpsc;
use std::time::Duration;
use std::{io, thread};

use thiserror::Error;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::readiness::Component;

/// How long work may take without a word about it. A disk under load takes seconds.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The thread is gone: its work panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the thread for file work has died")]
pub struct FilesGone;

type Work = Box<dyn FnOnce() + Send>;

/// A handle on the thread, which ends with the last of them.
#[derive(Clone, Debug)]
pub struct Files(mpsc::Sender<Work>);

impl Files {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start() -> io::Result<Self> {
        let (sender, work) = mpsc::channel::<Work>();
        thread::Builder::new().name("files".to_owned()).spawn(move || work.iter().for_each(|work| work()))?;
        Ok(Self(sender))
    }

    /// Does `work` there, after what was asked for before. It is done also when the future is dropped.
    ///
    /// # Errors
    /// When it, or work before it, panicked.
    pub fn run<T, F>(&self, work: F) -> impl Future<Output = Result<T, FilesGone>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (done, result) = oneshot::channel();
        // Nobody may be interested any more. Without a thread the channel's end is dropped, which tells.
        let sent = self.0.send(Box::new(move || drop(done.send(work()))));
        async move {
            sent.map_err(|_| FilesGone)?;
            result.await.map_err(|_| FilesGone)
        }
    }
}

/// Waits for file work, and says on `/ready` when it has taken longer than `patience`. What comes of it in the end, the
/// caller says there.
pub async fn told_when_stuck<T>(
    work: impl Future<Output = T>,
    patience: Duration,
    component: &Component,
) -> T {
    let mut work = std::pin::pin!(work);
    if let Ok(done) = timeout(patience, &mut work).await {
        return done;
    }
    component.not_ready("files-stuck", format!("work on files has not ended for more than {patience:?}"));
    tracing::warn!(component = component.name(), ?patience, "work on files takes long; perhaps a disk hangs");
    work.await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_hangs_is_told_and_still_waited_for() {
        let readiness = crate::Readiness::new();
        let component = readiness.component("cdi-spec");
        let files = Files::start().unwrap();
        let (release, parked) = mpsc::channel::<u32>();
        let work = files.run(move || parked.recv().unwrap_or_default());
        let told = async {
            let code = || readiness.report().not_ready[0].code.clone().unwrap_or_default();
            while code() != "files-stuck" {
                tokio::task::yield_now().await;
            }
            release.send(7).unwrap();
        };
        let (done, ()) = tokio::join!(told_when_stuck(work, Duration::from_millis(1), &component), told);
        assert_eq!(done, Ok(7));
    }

    #[tokio::test]
    async fn work_is_done_in_order_and_a_panic_is_told_to_all_who_wait() {
        let files = Files::start().unwrap();
        let (first, second) = (files.run(|| 1), files.run(|| 2));
        assert_eq!((second.await, first.await), (Ok(2), Ok(1)));
        let broken = files.run(|| {
            if true {
                panic!("a defect")
            }
        });
        let after = files.run(|| 3);
        assert_eq!((broken.await, after.await), (Err(FilesGone), Err(FilesGone)));
        assert_eq!(files.run(|| 4).await, Err(FilesGone));
    }
}
