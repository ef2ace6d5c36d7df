//! The supervisor from within: moments that cannot be brought about from outside, and a worker that
//! nothing ends, for which there is no other stand-in.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, mpsc};

use rustix::process::{Pid, Signal};

use super::*;
use crate::client::Answer;
use crate::{Backoff, Launch};

/// An answer that the test waits for.
struct Told(mpsc::Sender<Result<(), CallError>>);

impl Answer for Told {
    fn event(&mut self, _payload: &[u8]) -> Result<(), String> {
        Ok(())
    }
    fn reply(self: Box<Self>, _payload: &[u8]) -> Result<(), String> {
        self.0.send(Ok(())).map_err(|error| error.to_string())
    }
    fn fail(self: Box<Self>, error: CallError) {
        // A test that does not wait for it has dropped the other end.
        let _ = self.0.send(Err(error));
    }
    fn wanted(&self) -> bool {
        true
    }
    fn watches(&self) -> bool {
        false
    }
}

fn request(not_before: Option<Instant>) -> (Request, mpsc::Receiver<Result<(), CallError>>) {
    let (told, answer) = mpsc::channel();
    let frame = crate::frame::encode(Kind::Request, b"null").unwrap();
    (Request { frame, not_before, resent: false, answer: Box::new(Told(told)) }, answer)
}

/// A supervisor in a pause that ends at `pause`, with one request that is due at `not_before`.
fn pausing(pause: Instant, not_before: Instant) -> Supervisor {
    let mut supervisor = Supervisor::new(Spec::new("test"), Arc::new(Shared::new().unwrap()));
    supervisor.pause.end_at(pause);
    supervisor.queue.push_back(request(Some(not_before)).0);
    supervisor
}

#[test]
fn delayed_request_after_the_pause_wakes_the_supervisor_at_its_own_time() {
    let (past, later) = (Instant::now(), Instant::now() + Duration::from_secs(30));
    assert_eq!(pausing(past, later).next_time(), Some(later));
}

#[test]
fn request_that_is_due_in_a_pause_wakes_the_supervisor_at_the_end_of_the_pause() {
    let (past, later) = (Instant::now(), Instant::now() + Duration::from_secs(30));
    assert_eq!(pausing(later, past).next_time(), Some(later));
}

/// A program that answers `null` and ends if there is a file `well` beside it, hangs by itself if there is a
/// file `idle`, and hangs in a query if there is neither.
fn script(folder: &Path) -> PathBuf {
    let path = folder.join("worker");
    let text = concat!(
        "#!/bin/sh\n",
        r"[ -e ${0%/*}/well ] && printf '\004\000\000\000Rnull' >&0 && exit 0",
        "\n",
        r"[ -e ${0%/*}/idle ] || ",
        r#"printf '\062\000\000\000E{"call":"fakeHang","class":"query","subject":null}' >&0"#,
        "\nexec /bin/sleep 300\n"
    );
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn spec(program: &Path) -> Spec {
    let mut spec = Spec::new("fake");
    spec.program = program.to_owned();
    // What hangs is to be given up soon, but not a start on a busy machine.
    spec.deadlines.query = Duration::from_millis(200);
    spec.deadlines.own = Duration::from_secs(30);
    spec.backoff = Backoff { first: Duration::from_millis(1), max: Duration::from_millis(10) };
    spec
}

/// Everything that was observed.
type Seen = Arc<Mutex<Vec<Status>>>;

/// Runs a supervisor whose workers nothing ends but the test.
fn immortal(mut spec: Spec, seen: &Seen) -> Arc<Shared> {
    let observed = Arc::clone(seen);
    spec = spec.observed_by(move |status| observed.lock().unwrap().push(status.clone()));
    let shared = Arc::new(Shared::new().unwrap());
    let mut supervisor = Supervisor::new(spec, Arc::clone(&shared));
    supervisor.abandoned = Abandoned::without_effect("fake");
    std::thread::spawn(move || supervisor.run());
    shared
}

fn pids(seen: &Seen) -> Vec<Pid> {
    let seen = seen.lock().unwrap();
    let pid = |status: &Status| match status.state {
        State::Running { pid } => Pid::from_raw(i32::try_from(pid).unwrap()),
        _ => None,
    };
    let mut pids: Vec<_> = seen.iter().filter_map(pid).collect();
    pids.dedup();
    pids
}

fn ask(shared: &Shared) -> Result<(), CallError> {
    let (request, answer) = request(None);
    shared.post(request);
    answer.recv_timeout(Duration::from_secs(60)).unwrap()
}

fn eventually<T>(what: &str, check: impl Fn() -> Result<T, String>) -> T {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        match check() {
            Ok(value) => return value,
            Err(last) => assert!(Instant::now() < end, "{what}: {last}"),
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

fn kill(pid: Pid) {
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
}

#[test]
fn hung_workers_that_do_not_go_stop_new_starts_until_one_goes() {
    let folder = tempfile::tempdir().unwrap();
    let seen = Seen::default();
    let shared = immortal(spec(&script(folder.path())), &seen);
    for _ in 0..3 {
        assert!(matches!(ask(&shared), Err(CallError::Stuck { .. })));
    }
    assert!(matches!(ask(&shared), Err(CallError::TooManyAbandoned { count: 3 })));
    eventually("it is full", || match seen.lock().unwrap().last().cloned() {
        Some(status) if status.state == State::Full && status.abandoned == 3 => Ok(()),
        status => Err(format!("{status:?}")),
    });
    fs::write(folder.path().join("well"), "").unwrap();
    let hung = pids(&seen);
    kill(hung[0]);
    eventually("a new worker answers", || ask(&shared).map_err(|error| error.to_string()));
    assert_eq!(seen.lock().unwrap().last().unwrap().starts, 4);
    hung[1..].iter().for_each(|pid| kill(*pid));
}

#[test]
fn abandoned_worker_that_goes_is_told_while_another_works() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spec, seen) = (spec(&script(folder.path())), Seen::default());
    spec.deadlines.own = Duration::from_secs(60);
    let shared = immortal(spec, &seen);
    assert!(matches!(ask(&shared), Err(CallError::Stuck { .. })));
    fs::write(folder.path().join("idle"), "").unwrap();
    let (second, answer) = request(None);
    shared.post(second);
    let last = || seen.lock().unwrap().last().cloned().unwrap();
    let slow = |status: &Status| matches!(status.state, State::Slow { .. });
    // From here on its state stays the same.
    eventually("another one works", || match last() {
        status if status.starts == 2 && slow(&status) => Ok(()),
        status => Err(format!("{status:?}")),
    });
    kill(pids(&seen)[0]);
    eventually("none is left", || match last() {
        status if status.abandoned == 0 && slow(&status) => Ok(()),
        status => Err(format!("{status:?}")),
    });
    assert!(answer.try_recv().is_err(), "told only with the other's answer");
    kill(pids(&seen)[1]);
}

#[test]
fn worker_that_survives_its_close_is_reaped_when_it_goes() {
    let folder = tempfile::tempdir().unwrap();
    let seen = Seen::default();
    let shared = immortal(spec(&script(folder.path())), &seen);
    assert!(matches!(ask(&shared), Err(CallError::Stuck { .. })));
    shared.close();
    eventually("it is closed", || match seen.lock().unwrap().last().cloned() {
        Some(status) if status.state == State::Closed => Ok(()),
        status => Err(format!("{status:?}")),
    });
    let pid = pids(&seen)[0];
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    kill(pid);
    eventually("not even a zombie is left", || {
        fs::read_to_string(format!("/proc/{pid}/stat")).map_or(Ok(()), Err)
    });
}

#[test]
fn reply_of_a_worker_that_has_ended_by_the_time_it_is_read_is_heard() {
    let folder = tempfile::tempdir().unwrap();
    let spec = spec(&script(folder.path()));
    fs::write(folder.path().join("well"), "").unwrap();
    let mut supervisor = Supervisor::new(spec.clone(), Arc::new(Shared::new().unwrap()));
    let process = Process::start(&spec, &Launch::default()).unwrap();
    abandoned::wait_for(process.pidfd().unwrap(), Duration::from_secs(60));
    let (request, answer) = request(None);
    supervisor.process = Some(process);
    supervisor.busy = Some(Busy::new(request));
    // As when `poll` looked at the socket just before the reply and at the process just after its end.
    supervisor.heed(&Ready { exited: true, ..Ready::default() });
    assert!(answer.try_recv().unwrap().is_ok());
}
