//! The thread for file work that may wait for a disk: searches, synced writes, removals, one after the other. The
//! executor's threads answer the kubelet and never wait for any of it.
//!
//! The process does not wait for the thread either: work that hangs ends with it.

use std::sync::mpsc;
use std::{io, thread};

use thiserror::Error;
use tokio::sync::oneshot;

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

#[cfg(test)]
mod tests {
    use super::*;

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
