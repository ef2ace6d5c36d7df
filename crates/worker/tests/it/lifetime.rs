//! Who outlives whom: a worker never outlives its parent or its handle.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use worker::CallError;

use crate::fake::{Do, block_on, echo, eventually, spec, start};

crate::tests![
    parent_killed_takes_its_hanging_worker_along,
    handle_dropped_ends_the_worker,
    worker_closed_fails_what_waits_and_what_comes,
    process_not_asked_to_be_a_worker_goes_on,
    parent_that_did_not_run_beyond_a_deadline_does_not_blame_its_worker,
];

/// Argument that makes this program a parent with a worker that hangs.
const BE_PARENT: &str = "--be-parent";

/// Argument that makes this program a parent with a worker in one call until there is a file, whose path
/// follows.
const BE_SLEEPER: &str = "--be-sleeper";

/// The deadline of the parent that is stopped.
const PATIENCE: Duration = Duration::from_secs(5);

/// The parent that is to be killed: prints its worker's process id and waits.
pub fn enter_if_parent() -> Option<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next()?.as_str() {
        BE_PARENT => {}
        BE_SLEEPER => return Some(sleeper(arguments.next()?)),
        _ => return None,
    }
    let (worker, _) = start(spec());
    let pid: u32 = block_on(worker.ask(&Do::Pid)).unwrap();
    let _hanging = worker.ask::<()>(&Do::Hang);
    println!("{pid}");
    std::io::stdout().flush().unwrap();
    loop {
        std::thread::park();
    }
}

/// The parent that is to be stopped: prints its worker's process id, asks, and prints the outcome.
fn sleeper(file: String) -> ExitCode {
    let mut spec = spec();
    spec.deadlines.query = PATIENCE;
    let (worker, _) = start(spec);
    println!("{}", block_on(worker.ask::<u32>(&Do::Pid)).unwrap());
    let answer = worker.ask::<()>(&Do::UntilFile(file.into()));
    println!("{:?}", block_on(answer));
    ExitCode::SUCCESS
}

/// Whether a process has ended.
pub fn is_gone(pid: u32) -> Result<(), String> {
    // A zombie, whose parent is somebody else now, has ended too.
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Err(_) => Ok(()),
        Ok(stat) if stat.contains(") Z ") => Ok(()),
        Ok(stat) => Err(stat),
    }
}

fn parent_killed_takes_its_hanging_worker_along() {
    let mut parent =
        Command::new(std::env::current_exe().unwrap()).arg(BE_PARENT).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let pid: u32 = line.trim().parse().unwrap();
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    parent.kill().unwrap();
    parent.wait().unwrap();
    eventually("the worker is gone", || is_gone(pid));
}

fn handle_dropped_ends_the_worker() {
    let (worker, _) = start(spec());
    let pid: u32 = block_on(worker.ask(&Do::Pid)).unwrap();
    let _hanging = worker.ask::<()>(&Do::Hang);
    drop(worker);
    eventually("the worker is gone", || is_gone(pid));
}

fn worker_closed_fails_what_waits_and_what_comes() {
    let (worker, _) = start(spec());
    let waiting = worker.watch::<(), u32, _>(&Do::Wait(3_600_000), Duration::ZERO, |_| {});
    block_on(worker.close());
    block_on(worker.close());
    assert!(matches!(block_on(waiting).unwrap_err(), CallError::Closed));
    assert!(matches!(echo(&worker).unwrap_err(), CallError::Closed));
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// As when a machine sleeps, or a debugger stops the daemon and its worker.
fn parent_that_did_not_run_beyond_a_deadline_does_not_blame_its_worker() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("end");
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .arg(BE_SLEEPER)
        .arg(&file)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    let worker: u32 = lines.next().unwrap().unwrap().parse().unwrap();
    eventually("the call has begun", || match crate::fake::begun(&file).exists() {
        true => Ok(()),
        false => Err("no".into()),
    });
    signal(parent.id(), Signal::STOP);
    signal(worker, Signal::STOP);
    let stopped = Instant::now();
    eventually("more than the deadline has passed", || match stopped.elapsed() {
        time if time > PATIENCE + Duration::from_millis(1500) => Ok(()),
        time => Err(format!("{time:?}")),
    });
    signal(parent.id(), Signal::CONT);
    // Nothing comes from the worker until the parent has had the chance to blame it: it looks after a
    // second of its own running time, to tell that a call is slow.
    let resumed = Instant::now();
    eventually("the parent has run", || match resumed.elapsed() {
        time if time > Duration::from_millis(1200) => Ok(()),
        time => Err(format!("{time:?}")),
    });
    std::fs::write(&file, "").unwrap();
    // A worker that was blamed is gone by now.
    let pid = Pid::from_raw(i32::try_from(worker).unwrap()).unwrap();
    let _ = rustix::process::kill_process(pid, Signal::CONT);
    assert_eq!(lines.next().unwrap().unwrap(), "Ok(())");
    parent.wait().unwrap();
}

fn process_not_asked_to_be_a_worker_goes_on() {
    assert!(worker::enter_if_asked(crate::fake::ROLES).is_none());
}
