//! The daemon's tasks: none of them can fail unseen.
//!
//! A task starts at once. One that returns an error or panics is logged with its whole chain, asks the daemon to
//! end, and makes its exit code 1. One that returns `Ok` is done, which is no reason to end, unless the daemon is
//! nothing without it: a vital task that is done before the request to end has failed.

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::error::error_chain;
use crate::shutdown::Shutdown;

type TaskError = Box<dyn Error + Send + Sync>;
type TaskFuture = Pin<Box<dyn Future<Output = Result<(), TaskError>> + Send>>;

/// A handle to start tasks with; cheap to clone.
#[derive(Clone, Debug)]
pub struct Tasks(mpsc::UnboundedSender<NewTask>);

pub(crate) struct NewTask {
    name: String,
    is_vital: bool,
    future: TaskFuture,
}

impl std::fmt::Debug for NewTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("NewTask").field(&self.name).finish()
    }
}

/// How the tasks of a daemon ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// All of them well, after the request to end.
    Drained,
    /// One of them failed.
    Failed,
    /// Those named did not end by the deadline, and were dropped.
    Late(Vec<String>),
}

impl Tasks {
    /// Starts a task. Its name goes into the log. After the daemon has ended this does nothing.
    pub fn spawn<F, E>(&self, name: impl Into<String>, future: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<TaskError>,
    {
        self.send(name.into(), false, future);
    }

    /// Starts a task that has to run until the request to end: when it is done before, the daemon ends as if it had
    /// failed.
    pub fn spawn_vital<F, E>(&self, name: impl Into<String>, future: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<TaskError>,
    {
        self.send(name.into(), true, future);
    }

    fn send<F, E>(&self, name: String, is_vital: bool, future: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<TaskError>,
    {
        let future: TaskFuture = Box::pin(async move { future.await.map_err(Into::into) });
        // A daemon that has ended takes no tasks.
        let _ = self.0.send(NewTask { name, is_vital, future });
    }
}

/// What is known of a task that runs.
struct Running {
    name: String,
    is_vital: bool,
}

/// Tends tasks until the request to end, and from then on until all have ended, `drain` at the longest.
pub(crate) async fn tend(
    mut new: mpsc::UnboundedReceiver<NewTask>,
    shutdown: Shutdown,
    drain: Duration,
) -> Ending {
    let mut running = JoinSet::new();
    let mut known: BTreeMap<Id, Running> = BTreeMap::new();
    let start = |task: NewTask, running: &mut JoinSet<_>, known: &mut BTreeMap<Id, Running>| {
        let NewTask { name, is_vital, future } = task;
        known.insert(running.spawn(future).id(), Running { name, is_vital });
    };
    let mut failed = false;
    let mut deadline: Option<Instant> = None;
    loop {
        // What was asked for before the request to end still counts.
        while let Ok(task) = new.try_recv() {
            start(task, &mut running, &mut known);
        }
        if deadline.is_some() && running.is_empty() {
            return if failed { Ending::Failed } else { Ending::Drained };
        }
        tokio::select! {
            () = shutdown.requested(), if deadline.is_none() => deadline = Some(Instant::now() + drain),
            Some(task) = new.recv() => start(task, &mut running, &mut known),
            Some(ended) = running.join_next_with_id() => {
                if !note(ended, &mut known, deadline.is_some() || shutdown.is_requested()) {
                    failed = true;
                    shutdown.request();
                }
            }
            () = wait(deadline) => {
                return Ending::Late(known.into_values().map(|task| task.name).collect());
            }
        }
    }
}

/// Creates the handle and the end that [`tend`] takes.
pub(crate) fn channel() -> (Tasks, mpsc::UnboundedReceiver<NewTask>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Tasks(sender), receiver)
}

async fn wait(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Logs how a task ended, and says whether it ended well. `may_end` is whether vital tasks may end by now.
fn note(
    ended: Result<(Id, Result<(), TaskError>), JoinError>,
    known: &mut BTreeMap<Id, Running>,
    may_end: bool,
) -> bool {
    match ended {
        Ok((id, result)) => {
            let task = known.remove(&id);
            let is_early = !may_end && task.as_ref().is_some_and(|task| task.is_vital);
            let task = task.map(|task| task.name);
            match result {
                Ok(()) if !is_early => {
                    tracing::debug!(task, "task ended");
                    true
                }
                Ok(()) => {
                    tracing::error!(
                        task,
                        error = "it ended, and the daemon is nothing without it",
                        "task failed"
                    );
                    false
                }
                Err(error) => {
                    tracing::error!(task, error = %error_chain(&*error), "task failed");
                    false
                }
            }
        }
        Err(error) => {
            let task = known.remove(&error.id()).map(|task| task.name);
            let panic =
                error.try_into_panic().map_or_else(|error| error.to_string(), |panic| panic_text(&*panic));
            tracing::error!(task, error = panic, "task panicked");
            false
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
