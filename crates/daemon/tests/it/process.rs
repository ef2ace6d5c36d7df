//! Daemons as child processes: this test binary, run again for one test, which then plays the daemon.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use crate::http::GIVE_UP;

/// The variable that names the part which a child plays.
pub const PART: &str = "DAEMON_TEST_PART";

/// The command without the variables by which whoever runs these tests may steer daemons.
pub fn without_our_variables(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GANTRY_")) {
        command.env_remove(name);
    }
    command
}

/// A daemon in a process of its own.
pub struct Daemon {
    child: Child,
    log: Receiver<String>,
    seen: String,
}

impl Daemon {
    /// Runs the test `test` of this binary as the daemon.
    pub fn start(test: &str) -> Daemon {
        let mut child = without_our_variables(&mut Command::new(std::env::current_exe().unwrap()))
            .args(["--exact", test, "--nocapture"])
            .env(PART, "daemon")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, log) = channel();
        // Ends with the child's standard error.
        thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line + "\n"))
        });
        Daemon { child, log, seen: String::new() }
    }

    /// Waits for a log line with `text`, and returns it.
    pub fn wait_for(&mut self, text: &str) -> String {
        loop {
            let line = self.next_line().unwrap_or_default();
            assert_ne!(line, "", "the daemon ended without saying {text:?}; it said:\n{}", self.seen);
            if line.contains(text) {
                return line;
            }
        }
    }

    /// The next log line, or nothing once the daemon has ended.
    fn next_line(&mut self) -> Option<String> {
        let line = self.log.recv_timeout(GIVE_UP);
        assert_ne!(line, Err(RecvTimeoutError::Timeout), "the daemon hangs; it said:\n{}", self.seen);
        self.seen.extend(line.iter().map(String::as_str));
        line.ok()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end, and returns the exit code and the log.
    pub fn end(mut self) -> (Option<i32>, String) {
        while self.next_line().is_some() {}
        (self.child.wait().unwrap().code(), std::mem::take(&mut self.seen))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
