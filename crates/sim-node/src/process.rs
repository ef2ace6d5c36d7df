//! One daemon as a process: started with a minimal environment, its words kept in a file, killed when dropped or
//! when this process ends.
//!
//! It knows processes and the one log line that says where a daemon's admin server listens.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, kill_process, kill_process_group};
use thiserror::Error;

pub use rustix::process::Signal;

use crate::admin::{self, AdminAnswer, AdminError};
use crate::eventually::{NotInTime, eventually};

/// Search path of every daemon; they need no more than what a distribution has.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// How long a daemon may take to come to a state on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What stands before the address in the log line of a daemon's admin server.
const ADMIN_LINE: &str = "admin server listening";

/// A process that could not be started.
#[derive(Debug, Error)]
pub enum SpawnError {
    /// Its program is not there.
    #[error(transparent)]
    Missing(#[from] crate::programs::MissingProgram),
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// A process that did not end, or cannot be waited for.
#[derive(Debug, Error)]
pub enum WaitError {
    /// It still runs.
    #[error(transparent)]
    Runs(#[from] NotInTime),
    /// The operating system refused.
    #[error("cannot wait for {name}")]
    Io {
        /// Its name.
        name: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// A running daemon. Dropping it kills it, and so does the end of this process, however that ends. Its workers, which
/// are in process groups of their own, end with it by the kernel's hand: that takes a moment.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: Pid,
    log: PathBuf,
    life: Mutex<Life>,
    leash: Leash,
}

/// A process group that ends with this process: its leader is a shell that waits for the end of its input, a pipe whose
/// other end is ours, and then kills the group. The group's id stays taken while this value lives.
#[derive(Debug)]
struct Leash(Child);

impl Leash {
    fn new() -> io::Result<Leash> {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "read _; kill -KILL 0"]).env_clear().process_group(0);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().map(Leash)
    }

    fn group(&self) -> Pid {
        Pid::from_child(&self.0)
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        let _ = kill_process_group(self.group(), Signal::KILL);
        let _ = self.0.wait();
    }
}

/// The child, and how it ended once it was waited for: from then on its id may be another process's.
#[derive(Debug)]
struct Life {
    child: Child,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts `program` with `args` and `environment` alone; both its outputs go to the file `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn spawn<S: AsRef<OsStr>>(
        program: &Path,
        args: &[S],
        environment: &[(&str, &OsStr)],
        log: PathBuf,
    ) -> Result<Process, SpawnError> {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut command = command(program, environment);
        command.args(args);
        Process::start(name, command, log)
    }

    /// Starts a command; both its outputs go to the file `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(name: String, mut command: Command, log: PathBuf) -> Result<Process, SpawnError> {
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |source| SpawnError::Io { action, path, source }
        };
        let words = File::create(&log).map_err(failed("create", &log))?;
        let same = words.try_clone().map_err(failed("open", &log))?;
        let program = PathBuf::from(command.get_program());
        let leash = Leash::new().map_err(failed("start", Path::new("/bin/sh")))?;
        // Not of our group: ctrl-c at a terminal is the node's to answer.
        command.stdout(words).stderr(same).process_group(leash.group().as_raw_nonzero().get());
        let child = command.spawn().map_err(failed("start", &program))?;
        let pid = Pid::from_child(&child);
        Ok(Process { name, pid, log, life: Mutex::new(Life { child, status: None }), leash })
    }

    /// Writes to its standard input and closes that, if its command has one of ours.
    ///
    /// # Errors
    /// When it has none any more, or does not read.
    pub fn tell(&self, words: &str) -> io::Result<()> {
        let mut life = self.life.lock().unwrap_or_else(PoisonError::into_inner);
        let mut input = life.child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        input.write_all(words.as_bytes())
    }

    /// The program's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Sends a signal to the process itself; its workers get none.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        // Under the lock, so that it is not waited for meanwhile.
        let life = self.life.lock().unwrap_or_else(PoisonError::into_inner);
        match life.status {
            Some(_) => Err(io::ErrorKind::NotFound.into()),
            None => Ok(kill_process(self.pid, signal)?),
        }
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When the operating system does not tell.
    pub fn ended(&self) -> Result<Option<ExitStatus>, WaitError> {
        let mut life = self.life.lock().unwrap_or_else(PoisonError::into_inner);
        if life.status.is_none() {
            let waited = life.child.try_wait();
            life.status = waited.map_err(|source| WaitError::Io { name: self.name.clone(), source })?;
        }
        Ok(life.status)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it still runs at the deadline: its last words are in the text.
    pub fn wait(&self, deadline: Duration) -> Result<ExitStatus, WaitError> {
        let what = format!("{} ends", self.name);
        let ended = eventually(&what, deadline, || match self.ended().transpose() {
            Some(ended) => Ok(ended),
            None => Err(format!("it runs; its last words:\n{}", self.last_words(10))),
        });
        ended?
    }

    /// All that it said so far.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The last `lines` that it said.
    pub fn last_words(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Waits until it has said `text`.
    ///
    /// # Errors
    /// When it does not say so in time.
    pub fn says(&self, text: &str) -> Result<(), NotInTime> {
        eventually(&format!("{} says {text:?}", self.name), PATIENCE, || {
            if self.log().contains(text) { Ok(()) } else { Err(self.last_words(10)) }
        })
    }

    /// The file of its words.
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// Where its admin server listens, as its log says. Start it with `--admin-address=127.0.0.1:0`.
    ///
    /// # Errors
    /// When it does not say so in time.
    pub fn admin_address(&self) -> Result<SocketAddr, NotInTime> {
        eventually(&format!("{} opens its admin port", self.name), PATIENCE, || {
            address_in(&self.log()).ok_or_else(|| self.last_words(10))
        })
    }

    /// Asks its admin server, for `/ready` and the like.
    ///
    /// # Errors
    /// When it does not listen, or does not answer in time.
    pub fn admin_get(&self, path: &str) -> Result<AdminAnswer, AdminError> {
        admin::get(self.admin_address()?, path)
    }

    /// Sum of the samples in its `/metrics` whose name and labels begin so; 0 when there are none.
    ///
    /// # Errors
    /// As [`Process::admin_get`].
    pub fn metric(&self, sample: &str) -> Result<f64, AdminError> {
        Ok(self.admin_get("/metrics")?.metric(sample))
    }

    /// Its answer to `/ready`, ready or not, once that mentions all of `parts`.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn readiness_says(&self, parts: &[&str]) -> Result<String, NotInTime> {
        self.readiness(&format!("/ready of {} mentions {parts:?}", self.name), |_, body| {
            parts.iter().all(|part| body.contains(part))
        })
    }

    /// Its answer to `/ready`, once it is ready.
    ///
    /// # Errors
    /// When it is not in time.
    pub fn ready(&self) -> Result<String, NotInTime> {
        self.ready_and_says(&[])
    }

    /// Its answer to `/ready`, once it is ready and mentions all of `parts`, as remarks.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn ready_and_says(&self, parts: &[&str]) -> Result<String, NotInTime> {
        // A component that is ready stands in the answer of a daemon that is not: only the status tells.
        self.readiness(&format!("{} is ready and mentions {parts:?}", self.name), |status, body| {
            status == 200 && parts.iter().all(|part| body.contains(part))
        })
    }

    fn readiness(&self, what: &str, is_so: impl Fn(u16, &str) -> bool) -> Result<String, NotInTime> {
        eventually(what, PATIENCE, || {
            let answer = self.admin_get("/ready").map_err(|error| error.to_string())?;
            if is_so(answer.status, &answer.body) { Ok(answer.body) } else { Err(answer.body) }
        })
    }
}

impl Drop for Process {
    #[expect(clippy::print_stderr, reason = "a test that fails shows what its daemons said")]
    fn drop(&mut self) {
        let life = self.life.get_mut().unwrap_or_else(PoisonError::into_inner);
        if life.status.is_none() {
            let _ = kill_process_group(self.leash.group(), Signal::KILL);
            let _ = life.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of {} ---\n{}", self.name, self.log());
        }
    }
}

/// A program with a minimal environment.
pub(crate) fn command(program: &Path, environment: &[(&str, &OsStr)]) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", PATH)
        // Its words go to a file.
        .env("NO_COLOR", "1")
        .envs(environment.iter().copied())
        .stdin(Stdio::null());
    command
}

fn address_in(log: &str) -> Option<SocketAddr> {
    let line = log.lines().find(|line| line.contains(ADMIN_LINE))?;
    let after = line.split_once("address")?.1;
    let begin = after.find(|c: char| c.is_ascii_digit() || c == '[')?;
    let end = after[begin..].find([' ', '"', ',']).map_or(after.len(), |end| begin + end);
    after[begin..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_address_is_read_from_text_and_json_logs() {
        let text = "2026-01-01T00:00:00Z  INFO starting name=\"x\"\n2026-01-01T00:00:00Z  INFO admin server listening address=127.0.0.1:41233\n";
        assert_eq!(address_in(text), Some(([127, 0, 0, 1], 41233).into()));
        let json = r#"{"level":"INFO","message":"admin server listening","address":"[::1]:9401"}"#;
        assert_eq!(address_in(json), Some("[::1]:9401".parse().unwrap()));
        assert_eq!(address_in("starting"), None);
    }
}
