//! One worker process and the parent's ends of its socket and its standard error.

use std::io::{self, PipeReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::process::{Pid, PidfdFlags};

use super::abandoned::wait_for;
use super::is_not_now;
use super::log::Lines;
use crate::child::WORKER_ARGUMENT;
use crate::frame::{Frame, Reader};
use crate::{Launch, Spec};

/// How long a process that closed its socket may take to end.
const ENDING: Duration = Duration::from_secs(1);

/// Most that is read before other work gets its turn, in reads of 4 KiB.
const READS: usize = 64;

pub(super) struct Process {
    child: Child,
    pidfd: Option<OwnedFd>,
    socket: UnixStream,
    reader: Reader,
    outgoing: Vec<u8>,
    stderr: Option<PipeReader>,
    lines: Lines,
}

/// How a process ended.
pub(super) struct Ending {
    pub in_order: bool,
    pub how: String,
}

impl Process {
    /// Executes the worker. Must run on a thread that outlives it: the child dies with this thread.
    pub fn start(spec: &Spec, launch: &Launch) -> io::Result<Process> {
        let (socket, theirs) = UnixStream::pair()?;
        socket.set_nonblocking(true)?;
        let (stderr, their_stderr) = io::pipe()?;
        rustix::io::ioctl_fionbio(&stderr, true)?;
        let child = Command::new(&spec.program)
            .arg0(spec.role)
            .arg(WORKER_ARGUMENT)
            .arg(spec.role)
            .arg(std::process::id().to_string())
            .arg(&launch.argument)
            .env_clear()
            .envs(launch.env.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            // A Ctrl-C at the terminal is the parent's to handle.
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(their_stderr.try_clone()?))
            .stderr(Stdio::from(their_stderr))
            .spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pidfd = pid.and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
        let lines = Lines::new(spec.role, child.id());
        let (reader, outgoing, stderr) = (Reader::default(), Vec::new(), Some(stderr));
        Ok(Process { child, pidfd, socket, reader, outgoing, stderr, lines })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn socket(&self) -> &UnixStream {
        &self.socket
    }

    /// What to wait for on the socket.
    pub fn interest(&self) -> PollFlags {
        if self.outgoing.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT }
    }

    /// Readable once the process has ended.
    pub fn pidfd(&self) -> Option<&OwnedFd> {
        self.pidfd.as_ref()
    }

    pub fn stderr(&self) -> Option<&PipeReader> {
        self.stderr.as_ref()
    }

    /// Logs what the worker wrote to its standard error.
    pub fn log_lines(&mut self) {
        if let Some(pipe) = &self.stderr
            && !self.lines.drain(pipe)
        {
            self.stderr = None;
        }
    }

    pub fn send(&mut self, frame: &[u8]) {
        self.outgoing.extend_from_slice(frame);
        self.flush();
    }

    /// Writes what the socket takes. A broken socket shows when it is read.
    pub fn flush(&mut self) {
        while !self.outgoing.is_empty() {
            match (&self.socket).write(&self.outgoing) {
                Ok(count) => {
                    self.outgoing.drain(..count);
                }
                Err(error) if is_not_now(&error) => return,
                Err(_) => self.outgoing.clear(),
            }
        }
    }

    /// Takes what has arrived; `true` when nothing more will.
    pub fn read(&mut self) -> io::Result<bool> {
        for _ in 0..READS {
            match self.reader.fill(&self.socket) {
                Ok(0) => return Ok(true),
                Ok(_) => {}
                Err(error) if is_not_now(&error) => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    pub fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        self.reader.next()
    }

    /// How it ended; `None` when it has not, although it closed its socket.
    pub fn ending(&mut self) -> Option<Ending> {
        // The socket closes a moment before the process can be reaped.
        if let Some(pidfd) = &self.pidfd {
            wait_for(pidfd, ENDING);
        }
        let status = self.child.try_wait().ok().flatten()?;
        Some(Ending { in_order: status.success(), how: describe(status) })
    }

    pub fn into_parts(self) -> (Child, Option<OwnedFd>) {
        (self.child, self.pidfd)
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => {
            let name = match signal {
                libc::SIGABRT => " (SIGABRT)",
                libc::SIGBUS => " (SIGBUS)",
                libc::SIGFPE => " (SIGFPE)",
                libc::SIGILL => " (SIGILL)",
                libc::SIGKILL => " (SIGKILL: perhaps out of memory)",
                libc::SIGSEGV => " (SIGSEGV)",
                libc::SIGTERM => " (SIGTERM)",
                _ => "",
            };
            format!("signal {signal}{name}")
        }
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => format!("{status}"),
    }
}
