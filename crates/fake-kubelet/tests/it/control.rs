//! The program: served, asked and ended as a process.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use fake_kubelet::{
    Happening, PodRequest, State,
    control::{
        self,
        client::{Client, ControlError},
    },
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_fake-kubelet");

struct Process {
    child: Child,
    dir: PathBuf,
}

impl Process {
    fn start(dir: &Path) -> Process {
        let child = Command::new(PROGRAM).arg("--dir").arg(dir).stderr(Stdio::null()).spawn().unwrap();
        let process = Process { child, dir: dir.to_owned() };
        let deadline = Instant::now() + Duration::from_secs(20);
        while Client::connect(&control::socket(dir)).is_err() {
            assert!(Instant::now() < deadline, "no control socket in {}", dir.display());
            std::thread::park_timeout(Duration::from_millis(5));
        }
        process
    }

    fn client(&self) -> Client {
        Client::connect(&control::socket(&self.dir)).unwrap()
    }

    fn ctl(&self, args: &[&str]) -> Output {
        Command::new(PROGRAM).arg("ctl").arg("--dir").arg(&self.dir).args(args).output().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first events of a watch, which are waited for by a deadline.
fn first(
    watch: impl Iterator<Item = Result<Happening, ControlError>> + Send + 'static,
    count: usize,
) -> Vec<Happening> {
    let (seen, events) = mpsc::channel();
    std::thread::spawn(move || watch.take(count).for_each(|event| drop(seen.send(event.unwrap()))));
    (0..count).map(|_| events.recv_timeout(Duration::from_secs(20)).unwrap()).collect()
}

#[test]
fn process_asked_for_its_state_tells_it_in_both_forms() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(&dir.path().join("device-plugins"));
    let text = process.ctl(&["state"]);
    assert_eq!(String::from_utf8(text.stdout).unwrap(), "RESOURCE  CAPACITY  ALLOCATABLE  HELD  PLUGIN\n");
    let json = process.ctl(&["state", "--output", "json"]);
    let state: State = serde_json::from_slice(&json.stdout).unwrap();
    assert!(state.running && state.starts == 1, "{state:?}");
}

#[test]
fn process_asked_for_devices_that_nobody_offers_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(&dir.path().join("device-plugins"));
    let refused = process.ctl(&["allocate", "--pod", "p", "--resource", "example.com/gpu", "--count", "1"]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(String::from_utf8(refused.stderr).unwrap(), "error: no plugin offers example.com/gpu\n");
    let error = process.client().allocate(PodRequest::new("p", "main", "example.com/gpu", 1)).unwrap_err();
    assert_eq!(error.to_string(), "no plugin offers example.com/gpu");
}

#[test]
fn process_restarted_and_stopped_by_control_says_so_to_watchers() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(&dir.path().join("device-plugins"));
    let watch = process.client().watch().unwrap();
    process.client().restart().unwrap();
    process.client().stop().unwrap();
    assert!(!process.client().state().unwrap().running);
    process.client().restart().unwrap();
    let seen = first(watch, 4);
    assert!(seen.iter().all(|happening| happening.unix_nanos > 0), "{seen:?}");
    let seen: Vec<String> = seen.iter().map(|happening| happening.event.to_string()).collect();
    assert_eq!(seen, ["stopped", "started (start 2)", "stopped", "started (start 3)"]);
    let names: Vec<String> =
        process.client().log().unwrap().iter().map(|happening| happening.event.to_string()).collect();
    assert_eq!(names, ["started (start 1)", "stopped", "started (start 2)", "stopped", "started (start 3)"]);
    process.client().quit().unwrap();
    assert!(process.child.wait().unwrap().success());
    assert!(!control::socket(&process.dir).exists());
}

#[test]
fn process_asked_about_streams_answers_and_refuses_what_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(&dir.path().join("device-plugins"));
    let refused = process.ctl(&["drop-streams", "--resource", "example.com/gpu"]);
    assert_eq!(String::from_utf8(refused.stderr).unwrap(), "error: no stream of example.com/gpu\n");
    assert_eq!(process.client().drop_streams("example.com/gpu").unwrap(), 0);
    for (task, answer) in [("withhold-streams", "withheld\n"), ("open-streams", "opened\n")] {
        assert_eq!(String::from_utf8(process.ctl(&[task]).stdout).unwrap(), answer);
    }
    let refused = process.ctl(&["restart-container", "--pod", "p", "--resource", "example.com/gpu"]);
    assert_eq!(
        String::from_utf8(refused.stderr).unwrap(),
        "error: default/p main holds no example.com/gpu\n"
    );
}

#[test]
fn program_without_a_folder_is_refused() {
    let refused = Command::new(PROGRAM).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
}

#[test]
fn program_with_a_wrong_log_filter_ends_with_2_and_serves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let plugins = dir.path().join("device-plugins");
    let wrong =
        Command::new(PROGRAM).arg("--dir").arg(&plugins).args(["--log-level", "a=b=c"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert!(said.contains("--log-level") && said.contains("fake_kubelet=debug"), "{said}");
    assert!(!plugins.exists());
}
