//! The fake role: does what it is told, well or badly.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use worker::{
    Backoff, CallClass, CallError, Channel, ChannelError, Deadlines, Launch, Role, Spec, Status, Worker,
};

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
    /// Hangs in a call about this subject.
    HangAbout(u32),
    HangItself,
    /// Hangs, having started a process of its own.
    HangWithHelper,
    /// Works by itself for so many milliseconds.
    Work(u64),
    /// One call that lasts until there is this file, beside which it says that it has begun.
    UntilFile(PathBuf),
    Segfault,
    SegfaultAbout(u32),
    /// Dies while a process that it started still has its socket.
    DieBeforeHelper,
    EndAfterReply,
    AnswerOtherShape,
    Push(u32),
    /// Rests for so many milliseconds, then answers.
    Rest(u64),
    /// Waits in a call that may take so many milliseconds, and never ends.
    Wait(u64),
    /// What its standard input, output and error output are.
    StandardStreams,
    /// Hangs in the second query after one call of another class, and after a rest where so asked.
    HangAfterInit {
        rests: bool,
    },
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
                    channel.entering("fakeQuery", CallClass::Query, None);
                    spend(milliseconds);
                }
                channel.reply(&count)?;
            }
            Do::Hang => {
                channel.entering("fakeHang", CallClass::Query, None);
                hang();
            }
            Do::HangAbout(subject) => {
                channel.entering("fakeHang", CallClass::Query, Some(subject));
                hang();
            }
            Do::HangWithHelper => {
                channel.push(&leave_a_helper())?;
                channel.entering("fakeHang", CallClass::Query, None);
                hang();
            }
            Do::Work(milliseconds) => {
                spend(milliseconds);
                channel.reply(&())?;
            }
            Do::UntilFile(path) => {
                channel.entering("fakeQuery", CallClass::Query, None);
                std::fs::write(begun(&path), "").unwrap();
                while !path.exists() {
                    spend(5);
                }
                channel.reply(&())?;
            }
            Do::SegfaultAbout(subject) => {
                channel.entering("fakeCrash", CallClass::Query, Some(subject));
                segfault();
            }
            Do::HangItself => {
                channel.entering("fakeQuery", CallClass::Query, None);
                channel.left();
                hang();
            }
            Do::Segfault => {
                channel.entering("fakeCrash", CallClass::Query, None);
                segfault();
            }
            Do::DieBeforeHelper => {
                channel.entering("fakeCrash", CallClass::Query, None);
                channel.push(&leave_a_helper())?;
                segfault();
            }
            Do::EndAfterReply => {
                channel.reply(&std::process::id())?;
                return Ok(());
            }
            Do::AnswerOtherShape => channel.reply(&["a", "list"])?,
            Do::Push(count) => {
                for number in 0..count {
                    channel.push(&number)?;
                }
                channel.reply(&())?;
            }
            Do::Rest(milliseconds) => {
                channel.rest(Duration::from_millis(milliseconds))?;
                channel.reply(&())?;
            }
            Do::Wait(milliseconds) => {
                channel.push(&std::process::id())?;
                let at_most = Duration::from_millis(milliseconds);
                channel.entering("fakeWait", CallClass::Wait { at_most }, None);
                hang();
            }
            Do::StandardStreams => {
                let stream = |number| std::fs::read_link(format!("/proc/self/fd/{number}")).unwrap();
                channel.reply(&[stream(0), stream(1), stream(2)])?;
            }
            Do::HangAfterInit { rests } => {
                channel.entering("fakeQuery", CallClass::Query, Some(1));
                channel.entering("fakeInit", CallClass::Init, None);
                if rests {
                    channel.rest(Duration::from_millis(1))?;
                }
                channel.entering("fakeQuery", CallClass::Query, Some(2));
                channel.entering("fakeHang", CallClass::Query, Some(3));
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

/// Where [`Do::UntilFile`] says that it has begun.
pub fn begun(file: &Path) -> PathBuf {
    file.with_extension("begun")
}

/// Lets this much time pass.
pub fn spend(milliseconds: u64) {
    let end = Instant::now() + Duration::from_millis(milliseconds);
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
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

/// A worker that does not keep to the protocol: answers its first request with the bytes that it was
/// given in hexadecimal, and says nothing more.
pub fn enter_if_raw() -> Option<std::process::ExitCode> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, _, role, _, hex] = arguments.as_slice() else { return None };
    if role != RAW {
        return None;
    }
    let socket = std::os::fd::AsFd::as_fd(&std::io::stdin()).try_clone_to_owned().unwrap();
    let mut socket = std::os::unix::net::UnixStream::from(socket);
    socket.read_exact(&mut [0; 5]).unwrap();
    let pairs = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
    socket.write_all(&pairs.collect::<Vec<_>>()).unwrap();
    hang();
}

/// The role of [`enter_if_raw`].
const RAW: &str = "raw";

/// A worker that answers its first request with these bytes.
pub fn raw(bytes: &[u8]) -> Spec {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut spec =
        spec().prepared_by(move || Ok(Launch { argument: hex.clone().into(), ..Launch::default() }));
    spec.role = RAW;
    spec
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
