//! The worker's side: recognising that this process is a worker, and its channel to the parent.
//!
//! No async runtime, no threads, no logging framework: what a role writes to standard error becomes
//! log lines of the parent.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, Signal};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::CallClass;
use crate::board::Pen;
use crate::frame::{self, Entering, Kind, Left, Reader, Resting};

/// First argument of a worker; the role's name and the parent's process id follow, then the role's
/// own argument.
pub(crate) const WORKER_ARGUMENT: &str = "--gantry-worker";

/// Exit code of a worker that does not know its role or cannot begin (`EX_USAGE`).
const EXIT_CANNOT_BEGIN: u8 = 64;

/// Exit code of a role that ended with an error.
const EXIT_ROLE_FAILED: u8 = 1;

/// Something that a worker of this program can be.
#[derive(Clone, Copy, Debug)]
pub struct Role {
    /// Its name, as in [`crate::Spec`].
    pub name: &'static str,
    /// Serves requests until [`Channel::receive`] gives `None`. Returning earlier is allowed: the
    /// next request then starts a fresh worker.
    pub run: fn(&Channel) -> Result<(), ChannelError>,
}

/// A worker's way to talk with its parent.
#[derive(Debug)]
pub struct Channel {
    socket: UnixStream,
    inner: RefCell<Inner>,
    argument: std::ffi::OsString,
}

struct Inner {
    reader: Reader,
    pen: Pen,
    /// Whether the parent takes what the worker does from the board.
    is_noted: bool,
    /// Progress that could not be told: reported by the next operation that can fail.
    lost: Option<io::Error>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("lost", &self.lost).finish_non_exhaustive()
    }
}

/// The parent is gone, or does not speak our frames.
#[derive(Debug, Error)]
pub enum ChannelError {
    /// The socket failed.
    #[error("cannot {what} the parent")]
    Socket {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// A payload is no JSON of the expected shape.
    #[error("cannot {what} JSON")]
    Json {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: serde_json::Error,
    },
}

/// Runs this process as a worker if its parent asked for that, and gives its exit code. Comes first in
/// every `main`, before any thread or runtime.
///
/// The worker dies with the thread that spawned it, whatever that thread's process was doing.
pub fn enter_if_asked(roles: &[Role]) -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != WORKER_ARGUMENT {
        return None;
    }
    let (name, parent) = (arguments.next().unwrap_or_default(), arguments.next().unwrap_or_default());
    let ended = begin(roles, &name, &parent).and_then(|role| {
        let argument = arguments.next().unwrap_or_default();
        let channel =
            Channel::on_standard_streams(argument).map_err(|source| format!("no channel: {source}"))?;
        Ok((role.run)(&channel))
    });
    Some(match ended {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            complain(&error);
            ExitCode::from(EXIT_ROLE_FAILED)
        }
        Err(reason) => {
            let _ = writeln!(io::stderr(), "cannot be a worker: {reason}");
            ExitCode::from(EXIT_CANNOT_BEGIN)
        }
    })
}

/// Ties this process to its parent, then finds its role.
fn begin<'a>(roles: &'a [Role], name: &OsStr, parent: &OsStr) -> Result<&'a Role, String> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| format!("no parent-death signal: {error}"))?;
    // The parent may have died before the signal was set; then somebody else is our parent.
    let now = rustix::process::getppid().map_or(0, Pid::as_raw_pid);
    if parent.to_str() != Some(now.to_string().as_str()) {
        return Err(format!("the parent {} is gone", parent.display()));
    }
    let role = roles.iter().find(|role| name == role.name);
    let role = role.ok_or_else(|| format!("no role {:?} in this program", name.display()))?;
    if let Ok(title) = std::ffi::CString::new(role.name) {
        // Only for people who read `ps`.
        let _ = rustix::thread::set_name(&title);
    }
    Ok(role)
}

fn complain(error: &dyn std::error::Error) {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    let _ = writeln!(io::stderr(), "{text}");
}

impl Channel {
    /// The socket is the standard input, the board the standard output.
    fn on_standard_streams(argument: std::ffi::OsString) -> io::Result<Channel> {
        // The copies are closed on exec, and nothing stays in their place: what the library starts must not
        // hold the socket open, or speak on it. What it prints is for the log.
        let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        let pen = Pen::new(io::stdout().as_fd().try_clone_to_owned()?);
        rustix::stdio::dup2_stdout(io::stderr())?;
        let inner = Inner { reader: Reader::default(), pen, is_noted: true, lost: None };
        Ok(Channel { socket, inner: RefCell::new(inner), argument })
    }

    /// What the parent gave this worker on its way ([`crate::Launch::argument`]).
    pub fn argument(&self) -> &OsStr {
        &self.argument
    }

    /// The next request, or `None` when the parent wants no more. Blocks.
    ///
    /// # Errors
    /// When the socket fails or the request is not of type `T`.
    pub fn receive<T: DeserializeOwned>(&self) -> Result<Option<T>, ChannelError> {
        let mut inner = self.inner.borrow_mut();
        inner.check()?;
        loop {
            let reading = |source| ChannelError::Socket { what: "read from", source };
            if let Some(frame) = inner.reader.next().map_err(reading)? {
                inner.is_noted = true;
                let parsed = serde_json::from_slice(&frame.payload);
                return parsed
                    .map(Some)
                    .map_err(|source| ChannelError::Json { what: "read a request's", source });
            }
            match inner.reader.fill(&self.socket) {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(reading(error)),
            }
        }
    }

    /// Tells the parent which foreign call comes next, and what it is about: a number of the role's own,
    /// which comes back in [`crate::CallError`]. A parent that is gone shows at the next operation that
    /// can fail.
    pub fn entering(&self, call: &str, class: CallClass, subject: Option<u32>) {
        let mut inner = self.inner.borrow_mut();
        let is_query = class == CallClass::Query;
        let told = if is_query && inner.is_noted {
            inner.pen.note(Some((call, subject)))
        } else {
            inner.is_noted = is_query;
            let notes = inner.pen.number();
            self.tell(Kind::Entering, &Entering { call: call.into(), class, subject, notes })
        };
        inner.remember(told);
    }

    /// Tells the parent that the foreign call is over and that the worker works itself. Not needed
    /// between two calls or before a reply.
    pub fn left(&self) {
        let mut inner = self.inner.borrow_mut();
        let told = if inner.is_noted {
            inner.pen.note(None)
        } else {
            inner.is_noted = true;
            self.tell(Kind::Left, &Left { notes: inner.pen.number() })
        };
        inner.remember(told);
    }

    /// Answers the request.
    ///
    /// # Errors
    /// When the parent is gone, or `body` does not fit a frame.
    pub fn reply(&self, body: &impl Serialize) -> Result<(), ChannelError> {
        self.body(Kind::Reply, body)
    }

    /// Tells the parent that something happened, before the request is answered.
    ///
    /// # Errors
    /// When the parent is gone, or `body` does not fit a frame.
    pub fn push(&self, body: &impl Serialize) -> Result<(), ChannelError> {
        self.body(Kind::Event, body)
    }

    /// Rests for `time`, which the parent knows to be no hang; `false` when the parent went away
    /// meanwhile.
    ///
    /// # Errors
    /// When the socket cannot be watched.
    pub fn rest(&self, time: Duration) -> Result<bool, ChannelError> {
        let mut inner = self.inner.borrow_mut();
        inner.is_noted = false;
        let told = self.tell(Kind::Resting, &Resting { at_most: time });
        inner.remember(told);
        drop(inner);
        let rested = self.rest_quietly(time);
        self.left();
        rested
    }

    fn rest_quietly(&self, time: Duration) -> Result<bool, ChannelError> {
        let timeout = rustix::event::Timespec::try_from(time).ok();
        let mut watched = [PollFd::new(&self.socket, PollFlags::IN)];
        match rustix::event::poll(&mut watched, timeout.as_ref()) {
            Ok(ready) => Ok(ready == 0),
            Err(rustix::io::Errno::INTR) => Ok(true),
            Err(error) => Err(ChannelError::Socket { what: "watch", source: error.into() }),
        }
    }

    fn body(&self, kind: Kind, body: &impl Serialize) -> Result<(), ChannelError> {
        self.inner.borrow_mut().check()?;
        let payload = serde_json::to_vec(body)
            .map_err(|source| ChannelError::Json { what: "write a reply's", source })?;
        self.send(kind, &payload).map_err(|source| ChannelError::Socket { what: "write to", source })
    }

    fn send(&self, kind: Kind, payload: &[u8]) -> io::Result<()> {
        (&self.socket).write_all(&frame::encode(kind, payload)?)
    }

    /// Sends a frame of progress.
    fn tell(&self, kind: Kind, body: &impl Serialize) -> io::Result<()> {
        self.send(kind, &serde_json::to_vec(body).map_err(io::Error::from)?)
    }
}

impl Drop for Channel {
    /// The parent need not wait for what the process still does on its way out: a driver's own exit
    /// handlers can hang too.
    fn drop(&mut self) {
        // A socket that is shut down already is as good.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

impl Inner {
    fn remember(&mut self, told: io::Result<()>) {
        if let Err(error) = told {
            self.lost = Some(error);
        }
    }

    fn check(&mut self) -> Result<(), ChannelError> {
        let lost = self.lost.take();
        lost.map_or(Ok(()), |source| Err(ChannelError::Socket { what: "write to", source }))
    }
}
