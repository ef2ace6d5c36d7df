//! Who outlives whom: a worker never outlives its parent or its handle.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use worker::CallError;

use crate::fake::{Do, block_on, echo, eventually, spec, start};

crate::tests![
    parent_killed_takes_its_hanging_worker_along,
    handle_dropped_ends_the_worker,
    worker_closed_fails_what_waits_and_what_comes,
    process_not_asked_to_be_a_worker_goes_on,
];

/// Argument that makes this program a parent with a worker that hangs.
const BE_PARENT: &str = "--be-parent";

/// The parent that is to be killed: prints its worker's process id and waits.
pub fn enter_if_parent() -> Option<ExitCode> {
    if std::env::args().nth(1)? != BE_PARENT {
        return None;
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

fn is_gone(pid: u32) -> Result<(), String> {
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
    let waiting = worker.watch::<(), u32, _>(&Do::WaitForEver, std::time::Duration::ZERO, |_| {});
    block_on(worker.close());
    block_on(worker.close());
    assert!(matches!(block_on(waiting).unwrap_err(), CallError::Closed));
    assert!(matches!(echo(&worker).unwrap_err(), CallError::Closed));
}

fn process_not_asked_to_be_a_worker_goes_on() {
    assert!(worker::enter_if_asked(crate::fake::ROLES).is_none());
}
