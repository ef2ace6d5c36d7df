//! `nvml-sim process run` and `process add --for-pid`: processes of the machine are on GPUs as long as they live.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nvml_sim::StateFolder;
use serde_json::Value;

use crate::sim::{node, nvml_sim, said};

/// GPU, pid and name of all processes.
fn listed(dir: &Path) -> Vec<(u64, u64, String)> {
    let list = said(&nvml_sim(dir).args(["process", "list", "--output", "json"]).output().unwrap());
    let list: Vec<Value> = serde_json::from_str(&list).unwrap();
    let of = |it: &Value| {
        (it["gpu"].as_u64().unwrap(), it["pid"].as_u64().unwrap(), it["name"].as_str().unwrap().to_owned())
    };
    list.iter().map(of).collect()
}

/// Looks again until it is so.
#[expect(clippy::disallowed_methods, reason = "it pauses between two looks at the list")]
fn eventually(dir: &Path, is_so: impl Fn(&[(u64, u64, String)]) -> bool) {
    let began = Instant::now();
    loop {
        let listed = listed(dir);
        if is_so(&listed) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{listed:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A program that waits for its input.
fn waiting(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
}

#[test]
fn program_is_on_its_gpus_until_it_is_killed_and_its_name_is_gone_for_all() {
    let (_dir, folder) = node("dgx-a100");
    let dir = folder.dir();
    said(&nvml_sim(dir).args(["process", "add", "--gpu", "0", "--pid", "7"]).output().unwrap());
    let words = ["process", "run", "--gpu", "0", "--gpu", "3", "--memory", "1GiB", "--", "cat"];
    let mut program = waiting(nvml_sim(dir).args(words));
    let pid = u64::from(program.id());
    let cat = "cat".to_owned();
    eventually(dir, |listed| listed.len() == 3);
    assert_eq!(listed(dir)[1..], [(0, pid, cat.clone()), (3, pid, cat)]);
    // One that looks does not disturb it, and one that has looked before sees its end, too.
    let before = StateFolder::open(dir).unwrap();
    assert_eq!(before.state().unwrap().processes.iter().count(), 3);

    program.kill().unwrap();
    program.wait().unwrap();
    assert_eq!(before.state().unwrap().processes.iter().count(), 1);
    assert_eq!(listed(dir), [(0, 7, "simulated".to_owned())], "who has no life stays");
    assert_eq!(fs::read_dir(dir.join("lives")).unwrap().count(), 0, "nothing is left of it");
}

#[test]
fn process_that_runs_already_is_on_a_gpu_until_it_ends() {
    let (_dir, folder) = node("t4");
    let dir = folder.dir();
    let mut other = waiting(&mut Command::new("cat"));
    let pid = other.id().to_string();
    let words = ["process", "add", "--gpu", "0", "--for-pid", &pid, "--sm", "30%"];
    assert_eq!(said(&nvml_sim(dir).args(words).output().unwrap()), format!("{pid}\n"));
    let there = listed(dir);
    assert!(there[0].1 == u64::from(other.id()) && there[0].2.ends_with("cat"), "{there:?}");

    other.kill().unwrap();
    other.wait().unwrap();
    eventually(dir, <[_]>::is_empty);
    let refused = nvml_sim(dir).args(words).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains(&format!("this machine has no process {pid}")));
}

#[test]
fn program_that_cannot_run_or_be_there_leaves_nothing() {
    let (_dir, folder) = node("t4");
    let dir = folder.dir();
    let run =
        |words: &[&str]| nvml_sim(dir).args(["process", "run", "--gpu", "0"]).args(words).output().unwrap();
    assert_eq!(run(&["--", "/nowhere/program"]).status.code(), Some(1));
    assert_eq!(run(&["--memory", "1TiB", "--", "cat"]).status.code(), Some(2));
    assert_eq!(run(&["--gpu", "9", "--", "cat"]).status.code(), Some(2));
    assert_eq!(listed(dir), []);
}

#[test]
fn killing_takes_a_program_off_the_gpus_and_lets_it_live() {
    let (_dir, folder) = node("t4");
    let dir = folder.dir();
    let mut program = waiting(nvml_sim(dir).args(["process", "run", "--gpu", "0", "--", "cat"]));
    eventually(dir, |listed| !listed.is_empty());
    said(&nvml_sim(dir).args(["process", "kill", &program.id().to_string()]).output().unwrap());
    assert_eq!(listed(dir), []);
    assert_eq!(program.try_wait().unwrap(), None);
    drop(program.stdin.take());
    assert!(program.wait().unwrap().success());
}
