//! The parent's handle on a worker: requests go in, typed answers come out.

use std::collections::VecDeque;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::sync::oneshot;

use crate::supervisor::Supervisor;
use crate::{Launch, Spec};

/// Stack of the thread that tends a worker, in bytes: it keeps no large values.
const STACK: usize = 256 << 10;

/// Why a request has no answer.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum CallError {
    /// Preparing the start said that there can be no worker now.
    #[error("{reason}")]
    NotReady {
        /// Why.
        reason: String,
    },
    /// The worker cannot be started.
    #[error("cannot {step}")]
    CannotStart {
        /// What failed, such as `execute /usr/bin/gpu-device-plugin` or `make a socket pair`.
        step: String,
        /// The system's reason.
        source: Arc<std::io::Error>,
    },
    /// There was no progress in time. The worker was given up.
    #[error("no progress in {call} within {after:?}")]
    Stuck {
        /// The foreign call, or what the worker did itself.
        call: String,
        /// What the call was about, as the role told it.
        subject: Option<u32>,
        /// The deadline.
        after: Duration,
    },
    /// The worker died.
    #[error("the worker died in {call}: {how}")]
    Crashed {
        /// The foreign call, or what the worker did itself.
        call: String,
        /// What the call was about, as the role told it.
        subject: Option<u32>,
        /// Signal or exit code.
        how: String,
    },
    /// What the worker sent makes no sense. The worker was given up.
    #[error("the worker sent garbage: {reason}")]
    Garbage {
        /// What is wrong with it.
        reason: String,
    },
    /// As many workers of the role as allowed hang; none is started until one goes.
    #[error("{count} workers hang and cannot be ended")]
    TooManyAbandoned {
        /// How many.
        count: usize,
    },
    /// The request cannot be written as a frame.
    #[error("the request cannot be sent: {reason}")]
    Unsendable {
        /// Why.
        reason: String,
    },
    /// [`Worker::release`] ended the worker that had the request, or would have had it.
    #[error("the worker was ended to release what it held")]
    Released,
    /// The worker was closed.
    #[error("the worker was closed")]
    Closed,
    /// The thread that tends the worker died: a defect of this program, which a new handle alone mends.
    #[error("the thread that tends the worker died")]
    Lost,
}

/// The thread that tends a worker cannot be started.
#[derive(Debug, Error)]
#[error("cannot start the thread that tends the {role} worker")]
pub struct StartError {
    role: &'static str,
    source: std::io::Error,
}

/// A worker that starts when there is something to do. Clones share it; the last one to be dropped
/// ends it.
#[derive(Clone, Debug)]
pub struct Worker {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle(Arc<Shared>);

/// An answer to come. Dropping it gives the answer up, and ends the worker if the request was one that
/// watches.
#[derive(Debug)]
#[must_use = "the answer arrives only when it is awaited"]
pub struct Pending<A> {
    answer: oneshot::Receiver<Result<A, CallError>>,
    /// To tell the supervisor that nobody watches any more.
    shared: Option<Arc<Shared>>,
}

/// What the handles and the supervisor share.
#[derive(Debug)]
pub(crate) struct Shared {
    inbox: Mutex<Inbox>,
    /// Readable when the inbox should be looked at.
    pub wake: OwnedFd,
}

/// What the supervisor has not seen yet.
#[derive(Debug, Default)]
struct Inbox {
    orders: Orders,
    closing: bool,
    /// The supervisor has ended, and this is why: nobody looks any more.
    ended: Option<CallError>,
    closed: Vec<oneshot::Sender<()>>,
}

/// What the supervisor is to do.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    /// Requests, in their order.
    pub requests: VecDeque<Request>,
    /// Who waits until nothing is held any more.
    pub releases: Vec<oneshot::Sender<()>>,
    /// How many of the requests were made before the last release.
    pub released: usize,
    /// What preparing the start gave.
    pub prepared: Option<Prepared>,
}

/// What preparing a start gives.
pub(crate) type Prepared = Result<Launch, String>;

/// One request on its way.
pub(crate) struct Request {
    pub frame: Vec<u8>,
    /// Not to be sent earlier.
    pub not_before: Option<Instant>,
    /// Sent before, to a worker that ended in order before it looked at it.
    pub resent: bool,
    pub answer: Box<dyn Answer>,
}

/// Where a request's outcome goes. An error of its methods says why the bytes make no sense.
pub(crate) trait Answer: Send {
    fn event(&mut self, payload: &[u8]) -> Result<(), String>;
    fn reply(self: Box<Self>, payload: &[u8]) -> Result<(), String>;
    fn fail(self: Box<Self>, error: CallError);
    /// Whether somebody still waits.
    fn wanted(&self) -> bool;
    /// Whether the request goes on until nobody waits.
    fn watches(&self) -> bool;
}

struct Typed<A, F> {
    reply: oneshot::Sender<Result<A, CallError>>,
    event: Option<F>,
}

impl Worker {
    /// Starts the thread that tends the worker, and lives as long as the worker's handles.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(spec: Spec) -> Result<Worker, StartError> {
        let role = spec.role;
        let failed = |source| StartError { role, source };
        let shared = Arc::new(Shared::new().map_err(failed)?);
        let mut supervisor = Supervisor::new(spec, Arc::clone(&shared));
        std::thread::Builder::new()
            .name(format!("worker-{role}"))
            .stack_size(STACK)
            .spawn(move || {
                // Nothing is believed of it afterwards but what waits for it.
                if catch_unwind(AssertUnwindSafe(|| supervisor.run())).is_err() {
                    supervisor.lost();
                }
            })
            .map_err(failed)?;
        Ok(Worker { handle: Arc::new(Handle(shared)) })
    }

    /// Sends a request. Requests are answered one after the other.
    pub fn ask<A: DeserializeOwned + Send + 'static>(&self, request: &impl Serialize) -> Pending<A> {
        self.send(request, None, None::<fn(())>)
    }

    /// Sends a request after `delay`; the worker goes on with it until the answer is dropped, and
    /// tells `on_event` what happens meanwhile (on the thread that tends the worker).
    pub fn watch<A, E, F>(&self, request: &impl Serialize, delay: Duration, on_event: F) -> Pending<A>
    where
        A: DeserializeOwned + Send + 'static,
        E: DeserializeOwned + 'static,
        F: FnMut(E) + Send + 'static,
    {
        let not_before = Instant::now().checked_add(delay).filter(|_| !delay.is_zero());
        self.send(request, not_before, Some(on_event))
    }

    /// Ends the worker's process, so that whatever it holds is free, and keeps the handle: a later request
    /// starts a fresh process. Requests made before fail with [`CallError::Released`].
    ///
    /// Returns when every process of the role has gone, abandoned ones too. The kernel may take its time
    /// with one that sits in a driver: put a timeout around this.
    ///
    /// # Errors
    /// When the worker is closed.
    pub async fn release(&self) -> Result<(), CallError> {
        let (done, released) = oneshot::channel();
        self.shared().order(|orders| {
            orders.released = orders.requests.len();
            orders.releases.push(done);
        })?;
        released.await.map_err(|_| self.shared().end_reason())
    }

    /// Ends the worker without waiting for what it is doing. Later requests fail.
    pub async fn close(&self) {
        let (done, ended) = oneshot::channel();
        {
            let mut inbox = self.shared().inbox();
            inbox.closing = true;
            if inbox.ended.is_some() {
                return;
            }
            inbox.closed.push(done);
        }
        self.shared().wake();
        // An error means that the supervisor has ended too.
        let _ = ended.await;
    }

    fn send<A, E, F>(
        &self,
        request: &impl Serialize,
        not_before: Option<Instant>,
        event: Option<F>,
    ) -> Pending<A>
    where
        A: DeserializeOwned + Send + 'static,
        E: DeserializeOwned + 'static,
        F: FnMut(E) + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let shared = event.is_some().then(|| Arc::clone(self.shared()));
        let pending = Pending { answer, shared };
        let body = serde_json::to_vec(request).map_err(std::io::Error::from);
        let frame = body.and_then(|body| crate::frame::encode(crate::frame::Kind::Request, &body));
        let answer: Box<dyn Answer> =
            Box::new(Typed { reply, event: event.map(|f| Events { f, kind: std::marker::PhantomData }) });
        match frame {
            Ok(frame) => self.shared().post(Request { frame, not_before, resent: false, answer }),
            Err(error) => answer.fail(CallError::Unsendable { reason: error.to_string() }),
        }
        pending
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.0
    }
}

/// A closure with the type of its argument.
struct Events<F, E> {
    f: F,
    kind: std::marker::PhantomData<fn(E)>,
}

impl<A, F, E> Answer for Typed<A, Events<F, E>>
where
    A: DeserializeOwned + Send + 'static,
    E: DeserializeOwned,
    F: FnMut(E) + Send,
{
    fn event(&mut self, payload: &[u8]) -> Result<(), String> {
        let events = self.event.as_mut().ok_or("an event that nobody asked for")?;
        (events.f)(parse("an event", payload)?);
        Ok(())
    }

    fn reply(self: Box<Self>, payload: &[u8]) -> Result<(), String> {
        // A caller that is gone is no error: sending to it fails, and nobody misses it.
        match parse("an answer", payload) {
            Ok(answer) => {
                let _ = self.reply.send(Ok(answer));
                Ok(())
            }
            Err(reason) => {
                let _ = self.reply.send(Err(CallError::Garbage { reason: reason.clone() }));
                Err(reason)
            }
        }
    }

    fn fail(self: Box<Self>, error: CallError) {
        let _ = self.reply.send(Err(error));
    }

    fn wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    fn watches(&self) -> bool {
        self.event.is_some()
    }
}

fn parse<T: DeserializeOwned>(what: &str, payload: &[u8]) -> Result<T, String> {
    serde_json::from_slice(payload).map_err(|error| {
        let start: String = String::from_utf8_lossy(payload).chars().take(80).collect();
        format!("{what} of another shape: {error}, in {start:?}")
    })
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").field("bytes", &self.frame.len()).finish_non_exhaustive()
    }
}

impl Shared {
    pub fn new() -> std::io::Result<Shared> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Shared { inbox: Mutex::default(), wake })
    }

    /// The orders since the last look; `None` when it is time to end.
    pub fn take(&self) -> Option<Orders> {
        let mut inbox = self.inbox();
        (!inbox.closing).then(|| std::mem::take(&mut inbox.orders))
    }

    /// Tells the supervisor to end.
    pub fn close(&self) {
        self.inbox().closing = true;
        self.wake();
    }

    /// The supervisor ends for this reason: whatever still waits is told.
    pub fn end(&self, reason: &CallError) {
        let mut inbox = self.inbox();
        inbox.closing = true;
        inbox.ended.get_or_insert_with(|| reason.clone());
        let (orders, closed) = (std::mem::take(&mut inbox.orders), std::mem::take(&mut inbox.closed));
        drop(inbox);
        orders.requests.into_iter().for_each(|request| request.answer.fail(reason.clone()));
        for done in closed {
            // One who does not wait any more need not be told.
            let _ = done.send(());
        }
    }

    /// What preparing the start gave.
    pub fn prepared(&self, prepared: Prepared) {
        // Nobody to tell is as good.
        let _ = self.order(|orders| orders.prepared = Some(prepared));
    }

    pub fn post(&self, request: Request) {
        let mut request = Some(request);
        if let Err(error) = self.order(|orders| orders.requests.extend(request.take()))
            && let Some(request) = request
        {
            request.answer.fail(error);
        }
    }

    /// Gives the supervisor something to do; the reason when it does nothing any more.
    fn order(&self, give: impl FnOnce(&mut Orders)) -> Result<(), CallError> {
        let mut inbox = self.inbox();
        if inbox.closing {
            return Err(inbox.ended.clone().unwrap_or(CallError::Closed));
        }
        give(&mut inbox.orders);
        drop(inbox);
        self.wake();
        Ok(())
    }

    fn end_reason(&self) -> CallError {
        self.inbox().ended.clone().unwrap_or(CallError::Closed)
    }

    fn wake(&self) {
        // It fails only when the counter is full, and then it is readable already.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        // A panic while it is held leaves whole requests, nothing half done.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<A> Drop for Pending<A> {
    fn drop(&mut self) {
        self.answer.close();
        if let Some(shared) = &self.shared {
            shared.wake();
        }
    }
}

impl<A> Future for Pending<A> {
    type Output = Result<A, CallError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(context).map(|got| got.unwrap_or(Err(CallError::Lost)))
    }
}
