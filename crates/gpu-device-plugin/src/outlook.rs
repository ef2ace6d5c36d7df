//! The thread for looks that recur every few seconds for as long as the process lives.
//!
//! On the executor that serves the kubelet each of them would wake two threads of an idle node: one whose timer is due,
//! and one that it hands the work to. Here it is one.

use std::io;
use std::thread;

use anyhow::Context;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

/// An executor of one thread, before it runs.
pub struct Outlook(Runtime);

impl Outlook {
    /// An executor that does nothing yet.
    ///
    /// # Errors
    /// When the system has no resources to give.
    pub fn new() -> io::Result<Self> {
        Builder::new_current_thread().enable_all().build().map(Self)
    }

    /// Makes what is bound to the executor that it is made in, such as timers and watches.
    pub fn within<T>(&self, make: impl FnOnce() -> T) -> T {
        let _here = self.0.enter();
        make()
    }

    /// Runs `work` on a thread of its own until the daemon stops. The future waits for that, and fails when `work` ends
    /// first, with what it says, or when it panics.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn run(
        self,
        work: impl Future<Output = &'static str> + Send + 'static,
        stop: daemon::Shutdown,
    ) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + Send> {
        let (done, ended) = oneshot::channel();
        let body = move || {
            let ended = self.0.block_on(async {
                tokio::select! {
                    said = work => Err(said),
                    () = stop.requested() => Ok(()),
                }
            });
            // Nobody listens where the daemon is about to end.
            let _ = done.send(ended);
        };
        thread::Builder::new().name("outlook".to_owned()).spawn(body).context("no thread for what recurs")?;
        Ok(async move {
            match ended.await.context("the thread for what recurs has died")? {
                Ok(()) => Ok(()),
                Err(said) => Err(anyhow::Error::msg(said)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(
        work: impl Future<Output = &'static str> + Send + 'static,
    ) -> (daemon::Shutdown, anyhow::Result<()>) {
        let stop = daemon::Shutdown::new();
        let watched = Outlook::new().unwrap().run(work, stop.clone()).unwrap();
        let ended = Builder::new_current_thread().build().unwrap().block_on(watched);
        (stop, ended)
    }

    #[test]
    fn work_that_ends_and_work_that_panics_are_told() {
        let (_, ended) = running(async { "it ended" });
        assert_eq!(ended.unwrap_err().to_string(), "it ended");
        let (_, ended) = running(async { if true { panic!("a defect") } else { "" } });
        assert!(ended.unwrap_err().to_string().contains("has died"));
    }

    #[test]
    fn request_to_stop_ends_it_well() {
        let stop = daemon::Shutdown::new();
        let watched = Outlook::new().unwrap().run(std::future::pending(), stop.clone()).unwrap();
        stop.request();
        Builder::new_current_thread().build().unwrap().block_on(watched).unwrap();
    }
}
