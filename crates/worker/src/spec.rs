//! What to start as a worker, and how patient to be with it.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::{Deadlines, Status};

/// Workers that may hang at the same time before no more are started.
const MAX_ABANDONED: usize = 3;

/// Prepares one start, or says why there can be none now.
type Prepare = Arc<dyn Fn() -> Result<Launch, String> + Send + Sync>;

/// Told of each change of status.
type Observe = Arc<dyn Fn(&Status) + Send + Sync>;

/// How to run the workers of one role.
#[derive(Clone)]
pub struct Spec {
    /// Name of the [`crate::Role`].
    pub role: &'static str,
    /// What to execute. Default: `/proc/self/exe`, which stays this very build even when its file is
    /// replaced.
    pub program: PathBuf,
    /// Longest time without progress.
    pub deadlines: Deadlines,
    /// Pause after a worker that failed.
    pub backoff: Backoff,
    /// Workers **of this role** that may hang at the same time before no more are started. Default: 3.
    pub max_abandoned: usize,
    pub(crate) prepare: Prepare,
    pub(crate) observe: Observe,
}

/// What one worker gets on its way.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    /// One argument for the role, [`crate::Channel::argument`].
    pub argument: OsString,
    /// The worker's whole environment: it inherits nothing.
    pub env: Vec<(OsString, OsString)>,
}

/// Pause before a new worker: it doubles with each failure in a row, and a quarter of it is left to
/// chance. A request that is answered ends the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// At most.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { first: Duration::from_millis(100), max: Duration::from_secs(60) }
    }
}

impl Spec {
    /// A worker of this program, with an empty environment and default patience.
    pub fn new(role: &'static str) -> Spec {
        Spec {
            role,
            program: PathBuf::from("/proc/self/exe"),
            deadlines: Deadlines::default(),
            backoff: Backoff::default(),
            max_abandoned: MAX_ABANDONED,
            prepare: Arc::new(|| Ok(Launch::default())),
            observe: Arc::new(|_| {}),
        }
    }

    /// Asks `prepare` before each start, on a thread of its own, so that it may block. Its error fails the
    /// waiting request at once as [`crate::CallError::NotReady`], without a back-off; so does its silence
    /// beyond [`Deadlines::own`].
    #[must_use]
    pub fn prepared_by(
        mut self,
        prepare: impl Fn() -> Result<Launch, String> + Send + Sync + 'static,
    ) -> Spec {
        self.prepare = Arc::new(prepare);
        self
    }

    /// Tells `observe` of each change, on the thread that tends the worker.
    #[must_use]
    pub fn observed_by(mut self, observe: impl Fn(&Status) + Send + Sync + 'static) -> Spec {
        self.observe = Arc::new(observe);
        self
    }
}

impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spec")
            .field("role", &self.role)
            .field("program", &self.program)
            .field("deadlines", &self.deadlines)
            .field("backoff", &self.backoff)
            .field("max_abandoned", &self.max_abandoned)
            .finish_non_exhaustive()
    }
}
