//! The wait of a program for what a look at the node shows. It blocks in inotify, so that an idle waiter costs nothing, and
//! wakes for what waits for its time. It knows no events.

use std::time::{Duration, Instant};

use super::{Library, Process};
use crate::code::Code;
use crate::snapshot::Snapshot;
use crate::state::Watch;

impl Library {
    /// Looks at the node until `take` finds something there, at least once; `TIMEOUT` where it does not in that time.
    pub(super) fn wait_until<T>(
        &self,
        timeout: Duration,
        mut take: impl FnMut(&Snapshot, &mut Process) -> Result<Option<T>, Code>,
    ) -> Result<T, Code> {
        let deadline = Instant::now().checked_add(timeout);
        let folder = self.folder().map_err(|_| Code::UNINITIALIZED)?;
        let mut watch = None;
        loop {
            let snapshot = self.snapshot()?;
            let taken = take(&snapshot, &mut self.process())?;
            if let Some(taken) = taken {
                return Ok(taken);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(Code::TIMEOUT);
            }
            match &watch {
                // Looked at once more after the watch began: a change in between is not missed.
                None => watch = Some(Watch::new(folder.dir())),
                Some(watch) => watch.wait(deadline.into_iter().chain(snapshot.state.wakes_at()).min()),
            }
        }
    }
}
