//! One worker process and the parent's ends of its socket, its board and its standard error.

use std::io::{self, PipeReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

use super::abandoned::wait_for;
use super::is_not_now;
use super::log::Lines;
use crate::board::Board;
use crate::child::WORKER_ARGUMENT;
use crate::frame::{CHUNK, Frame, MAX_PAYLOAD, Reader};
use crate::{CallError, Launch, Spec};

/// How long a process that closed its socket may take to end.
const ENDING: Duration = Duration::from_secs(1);

/// Pause between two looks at a process that gives no handle to wait on (kernels before 5.3).
const LOOK: Duration = Duration::from_millis(2);

/// Most that is read before other work gets its turn, in reads of [`CHUNK`].
const READS: usize = 64;

/// Most that is read of a process that has ended: the rest of one frame, and what other work left.
const LAST_READS: usize = MAX_PAYLOAD / CHUNK + READS;

pub(super) struct Process {
    child: Child,
    /// Its exit status was taken, so that its id may be another process's by now.
    reaped: bool,
    pidfd: Option<OwnedFd>,
    socket: UnixStream,
    reader: Reader,
    board: Board,
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
    pub fn start(spec: &Spec, launch: &Launch) -> Result<Process, CallError> {
        let failed = |step: &str| {
            let step = step.to_owned();
            move |source: io::Error| CallError::CannotStart { step, source: Arc::new(source) }
        };
        let (socket, theirs) = UnixStream::pair().map_err(failed("make a socket pair"))?;
        socket.set_nonblocking(true).map_err(failed("make a socket that does not block"))?;
        let (stderr, their_stderr) = io::pipe().map_err(failed("make a pipe"))?;
        rustix::io::ioctl_fionbio(&stderr, true)
            .map_err(|error| failed("make a pipe that does not block")(error.into()))?;
        let board = Board::new().map_err(failed("make a file in memory"))?;
        let their_board = board.file().map_err(failed("copy a file"))?;
        let child = Command::new(&spec.program)
            .arg0(spec.role)
            .arg(WORKER_ARGUMENT)
            .arg(spec.role)
            .arg(std::process::id().to_string())
            .arg(&launch.argument)
            .env_clear()
            .envs(launch.env.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            // A Ctrl-C at the terminal is the parent's to handle. What the library starts is in this
            // group too, and ends with it.
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(their_board))
            .stderr(Stdio::from(their_stderr))
            .spawn()
            .map_err(failed(&format!("execute {}", spec.program.display())))?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pidfd = pid.and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
        let lines = Lines::new(spec.role, child.id());
        let (reader, outgoing, stderr) = (Reader::default(), Vec::new(), Some(stderr));
        Ok(Process { child, reaped: false, pidfd, socket, reader, board, outgoing, stderr, lines })
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

    /// What it notes of its queries.
    pub fn board(&mut self) -> &mut Board {
        &mut self.board
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

    /// Takes what has arrived; `true` when nothing more will. Of a process that `has_ended` it is the last.
    pub fn read(&mut self, has_ended: bool) -> io::Result<bool> {
        for _ in 0..if has_ended { LAST_READS } else { READS } {
            match self.reader.fill(&self.socket) {
                Ok(0) => return Ok(true),
                // That was all: the next look would find nothing, and what comes later wakes again.
                Ok(count) if count < CHUNK && !has_ended => return Ok(false),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(has_ended),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        Ok(has_ended)
    }

    pub fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        self.reader.next()
    }

    /// How it ended; `None` when it has not, although it closed its socket. What it started ends too.
    pub fn ending(&mut self) -> Option<Ending> {
        // The socket closes a moment before the process can be reaped.
        match &self.pidfd {
            Some(pidfd) => wait_for(pidfd, ENDING),
            None => self.look_until(Instant::now() + ENDING),
        }
        if self.has_ended() {
            // Before it is reaped: until then its id, and so its group's, is its own.
            self.signal(Signal::KILL);
        }
        let status = self.child.try_wait().ok().flatten()?;
        self.reaped = true;
        Some(Ending { in_order: status.success(), how: describe(status) })
    }

    /// Sends `signal` to it and to what it started.
    pub fn signal(&self, signal: Signal) {
        if !self.reaped
            && let Some(pid) = self.id()
        {
            let _ = rustix::process::kill_process_group(pid, signal);
        }
    }

    pub fn into_parts(self) -> (Child, Option<OwnedFd>) {
        (self.child, self.pidfd)
    }

    fn look_until(&self, end: Instant) {
        while !self.has_ended() && Instant::now() < end {
            std::thread::park_timeout(LOOK);
        }
    }

    /// Whether it has ended, without taking its status.
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let looked = self.id().map(|pid| rustix::process::waitid(WaitId::Pid(pid), options));
        matches!(looked, Some(Ok(Some(_))))
    }

    fn id(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn ending_on_a_kernel_without_process_handles_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("worker");
        std::fs::write(&program, "#!/bin/sh\n/bin/sleep 0.05\nexit 3\n").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut spec = Spec::new("fake");
        spec.program = program;
        let mut process = Process::start(&spec, &Launch::default()).unwrap();
        process.pidfd = None;
        let ending = process.ending().unwrap();
        assert_eq!((ending.in_order, ending.how.as_str()), (false, "exit code 3"));
    }
}
