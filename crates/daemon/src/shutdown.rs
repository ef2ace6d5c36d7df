//! The request to end, which every task can wait for, and the signals that make it.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The request to end; cheap to clone. Once made, it stays made.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// A request that was not made yet; a running daemon takes [`crate::Runtime::shutdown`].
    pub fn new() -> Shutdown {
        Shutdown::default()
    }

    /// Waits until it is made.
    pub async fn requested(&self) {
        self.0.cancelled().await;
    }

    /// Whether it was made.
    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Makes it: the daemon drains and ends.
    pub fn request(&self) {
        self.0.cancel();
    }
}

/// The signals by which people and kubelets end a process.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on the signals no longer kill the process.
    pub(crate) fn install() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The next signal.
    pub(crate) async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
        }
    }
}
