//! The fake role: does what it is told, well or badly.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use worker::{Backoff, CallClass, CallError, Channel, ChannelError, Deadlines, Role, Spec, Status, Worker};

pub const ROLES: &[Role] = &[Role { name: "fake", run }];

/// What the fake is told to do.
#[derive(Debug, Serialize, Deserialize)]
pub enum Do {
    Echo(String),
    Environment,
    Pid,
    Complain(String),
    /// So many calls, each so many milliseconds long.
    Calls(u32, u64),
    Hang,
    HangItself,
    Segfault,
    /// Dies while a process that it started still has its socket.
    DieBeforeHelper,
    EndAfterReply,
    AnswerOtherShape,
    AnswerBytes(Vec<u8>),
    Push(u32),
    WaitForEver,
}

fn run(channel: &Channel) -> Result<(), ChannelError> {
    while let Some(what) = channel.receive::<Do>()? {
        match what {
            Do::Echo(text) => channel.reply(&text)?,
            Do::Environment => {
                let names: Vec<_> = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
                channel.reply(&(names, channel.argument().to_string_lossy()))?;
            }
            Do::Pid => channel.reply(&std::process::id())?,
            Do::Complain(line) => {
                eprintln!("{line}");
                channel.reply(&())?;
            }
            Do::Calls(count, milliseconds) => {
                for _ in 0..count {
                    channel.entering("fakeQuery", CallClass::Query);
                    channel.rest(Duration::from_millis(milliseconds))?;
                }
                channel.reply(&count)?;
            }
            Do::Hang => {
                channel.entering("fakeHang", CallClass::Query);
                hang();
            }
            Do::HangItself => {
                channel.entering("fakeQuery", CallClass::Query);
                channel.left();
                hang();
            }
            Do::Segfault => {
                channel.entering("fakeCrash", CallClass::Query);
                segfault();
            }
            Do::DieBeforeHelper => {
                channel.entering("fakeCrash", CallClass::Wait);
                channel.push(&leave_a_helper())?;
                segfault();
            }
            Do::EndAfterReply => {
                channel.reply(&std::process::id())?;
                return Ok(());
            }
            Do::AnswerOtherShape => channel.reply(&["a", "list"])?,
            Do::AnswerBytes(bytes) => {
                let socket = io::stdin().as_fd().try_clone_to_owned().unwrap();
                File::from(socket).write_all(&bytes).unwrap();
            }
            Do::Push(count) => {
                for number in 0..count {
                    channel.push(&number)?;
                }
                channel.reply(&())?;
            }
            Do::WaitForEver => {
                channel.push(&std::process::id())?;
                channel.entering("fakeWait", CallClass::Wait);
                hang();
            }
        }
    }
    Ok(())
}

/// A process that has the socket too, and outlives this one.
fn leave_a_helper() -> u32 {
    std::process::Command::new("/bin/sleep").arg("300").spawn().unwrap().id()
}

fn segfault() -> ! {
    let own = rustix::process::getpid();
    // Rust's own handler lets the first one pass: nothing was really touched.
    loop {
        rustix::process::kill_process(own, rustix::process::Signal::SEGV).unwrap();
    }
}

fn hang() -> ! {
    loop {
        std::thread::park();
    }
}

/// The deadline of one call in these tests.
pub const DEADLINE: Duration = Duration::from_millis(500);

/// A worker with short deadlines and pauses.
pub fn spec() -> Spec {
    let mut spec = Spec::new("fake");
    spec.deadlines =
        Deadlines { init: DEADLINE, query: DEADLINE, change: DEADLINE, own: Duration::from_secs(20) };
    spec.backoff = Backoff { first: Duration::from_millis(5), max: Duration::from_millis(20) };
    spec
}

/// What was last observed of a worker.
pub type Seen = Arc<Mutex<Status>>;

pub fn start(spec: Spec) -> (Worker, Seen) {
    let seen = Seen::default();
    let observer = Arc::clone(&seen);
    let spec = spec.observed_by(move |status| *observer.lock().unwrap() = status.clone());
    (Worker::start(spec).unwrap(), seen)
}

/// Runs a future to its end, for at most a minute.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), future).await }).unwrap()
}

/// One echo through the worker.
pub fn echo(worker: &Worker) -> Result<String, CallError> {
    block_on(worker.ask(&Do::Echo("hello".into())))
}

/// Waits until `check` gives a value; the last complaint is printed when it never does.
pub fn eventually<T>(what: &str, check: impl Fn() -> Result<T, String>) -> T {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match check() {
            Ok(value) => return value,
            Err(last) => assert!(Instant::now() < end, "{what}: {last}"),
        }
        block_on(async { tokio::time::sleep(Duration::from_millis(5)).await });
    }
}
