//! Preparing a start on a thread of its own: it may block, for example on a lock that another process
//! holds, and then must hold up neither a close nor a request beyond its time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Spec;
use crate::client::{Prepared, Shared};

#[derive(Default)]
pub(super) struct Preparation {
    /// A thread prepares since then.
    begun: Option<Instant>,
    done: Option<Prepared>,
}

impl Preparation {
    /// What was prepared for a start now, or `None` for later: the thread's result comes as an order.
    pub fn next(&mut self, spec: &Spec, shared: &Arc<Shared>, now: Instant) -> Option<Prepared> {
        if self.done.is_some() {
            return self.done.take();
        }
        let patience = spec.deadlines.own;
        match self.begun {
            Some(begun) if now.saturating_duration_since(begun) < patience => None,
            Some(_) => Some(Err(format!("preparing the start takes longer than {patience:?}"))),
            None => {
                self.begun = Some(now);
                if let Err(error) = begin(spec, shared) {
                    // The result that it dropped unmade fails the request.
                    tracing::error!(role = spec.role, %error, "no thread to prepare the start");
                }
                None
            }
        }
    }

    /// The thread has come to an end.
    pub fn finish(&mut self, prepared: Prepared) {
        self.begun = None;
        self.done = Some(prepared);
    }

    /// A later start is prepared anew.
    pub fn forget(&mut self) {
        self.done = None;
    }

    /// When the requests that wait for the thread will have waited for long enough.
    pub fn overdue_at(&self, patience: Duration) -> Option<Instant> {
        self.begun.and_then(|begun| begun.checked_add(patience))
    }
}

fn begin(spec: &Spec, shared: &Arc<Shared>) -> std::io::Result<()> {
    let (prepare, result) = (Arc::clone(&spec.prepare), Outcome(Arc::clone(shared), None));
    let name = format!("prepare-{}", spec.role);
    std::thread::Builder::new().name(name).spawn(move || {
        let mut result = result;
        result.1 = Some(prepare());
    })?;
    Ok(())
}

/// Tells the supervisor even when the thread panics or never was.
struct Outcome(Arc<Shared>, Option<Prepared>);

impl Drop for Outcome {
    fn drop(&mut self) {
        let prepared = self.1.take();
        self.0.prepared(prepared.unwrap_or_else(|| Err("preparing the start ended without a result".into())));
    }
}
