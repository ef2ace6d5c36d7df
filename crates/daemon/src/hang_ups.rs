//! SIGHUP, by which a person asks a daemon to look at everything now.

use std::io;

use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::runtime::Runtime;

/// The system has closed the signal's stream.
#[derive(Debug, Error)]
#[error("SIGHUP is caught no more")]
struct NoMore;

/// Counts the SIGHUPs from now on.
pub(crate) fn count(runtime: &Runtime) -> io::Result<watch::Receiver<u64>> {
    let mut signals = signal(SignalKind::hangup())?;
    let (count, asked) = watch::channel(0);
    runtime.spawn_until_stopped("sighup", async move {
        while signals.recv().await.is_some() {
            count.send_modify(|count: &mut u64| *count += 1);
        }
        Err(NoMore)
    });
    Ok(asked)
}
