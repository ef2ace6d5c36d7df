//! Waiting for what may be absent: where there is none, the wait has no end, as `select!` wants it.

use std::time::Instant;

use tokio::time::sleep_until;

/// What comes of the work under way.
pub async fn finish<F: Future + Unpin>(work: &mut Option<F>) -> F::Output {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}

/// Waits until then.
pub async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}
