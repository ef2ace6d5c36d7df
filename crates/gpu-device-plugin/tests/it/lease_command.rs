//! `gpu-device-plugin lease`, as people use it.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};

use nvml_sim::{Effect, Fault, Occurrence, freeze};
use sim_node::{Process, Signal, SimNode};

use crate::harness::{
    PATIENCE, QUICK, RESOURCE, bare, counts, eventually, first_questions_are_answered, gpus, serving,
    serving_with,
};
use crate::leases::folder;

fn lease(node: &SimNode, arguments: &[&str]) -> Command {
    let mut command = node.command("gpu-device-plugin").unwrap();
    command.args(node.plugin_flags()).arg("lease").args(arguments);
    command
}

fn run(node: &SimNode, arguments: &[&str]) -> Output {
    lease(node, arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

/// One that goes on until it is ended.
fn hold(node: &SimNode, arguments: &[&str]) -> Process {
    let words = [&["hold", "--who=ada", "--purpose=driver upgrade"], arguments].concat();
    node.spawn_command("lease", lease(node, &words)).unwrap()
}

fn list(node: &SimNode) -> Vec<serde_json::Value> {
    let output = run(node, &["list", "--output=json"]);
    serde_json::from_slice(&output.stdout).map_err(|_| said(&output)).unwrap()
}

fn reported(node: &SimNode) {
    eventually("the report is there", || fs::metadata(node.run_dir().join("device-plugin/inventory.json")));
}

// Fails if the command runs before the kubelet has let go, or the lease outlives it.
#[tokio::test]
async fn command_runs_while_the_lease_is_held_and_its_exit_code_is_given() {
    let (node, kubelet, _plugin) = serving().await;
    reported(&node);
    let marks = node.dir().join("marks");
    let script = format!("cat '{}'/leases/*.ack > '{}'; exit 42", node.run_dir().display(), marks.display());
    let done = run(&node, &["hold", "--gpu=all", "--who=ada", "--purpose=x", "--", "sh", "-c", &script]);
    assert_eq!(done.status.code(), Some(42), "{}", said(&done));
    assert!(said(&done).contains("1 of 1 daemons have let go"), "{}", said(&done));
    assert!(fs::read_to_string(marks).unwrap().contains("\"held\": 0"));
    assert_eq!(list(&node), Vec::<serde_json::Value>::new());
    counts(&kubelet, 8, 8);
    let killed = run(&node, &["hold", "--gpu=0", "--purpose=x", "--", "sh", "-c", "kill -TERM $$"]);
    assert_eq!(killed.status.code(), Some(128 + 15), "{}", said(&killed));
    let absent = run(&node, &["hold", "--gpu=0", "--purpose=x", "--", "/no/such/program"]);
    assert_eq!(absent.status.code(), Some(1));
    assert!(said(&absent).contains("cannot run /no/such/program"), "{}", said(&absent));
}

#[tokio::test]
async fn second_owner_is_told_who_has_the_gpu_and_the_first_is_asked_to_give_it_back() {
    let (node, kubelet, _plugin) = serving().await;
    reported(&node);
    let first = hold(&node, &["--gpu=3,4"]);
    first.says("held until this is interrupted").unwrap();
    counts(&kubelet, 8, 6);
    let second = run(&node, &["hold", "--gpu=4", "--purpose=y", "--", "true"]);
    assert_eq!(second.status.code(), Some(1));
    for part in [gpus(&node)[4].as_str(), "driver upgrade", "ada", &first.pid().to_string()] {
        assert!(said(&second).contains(part), "{}", said(&second));
    }
    let table = said(&run(&node, &["list"]));
    for part in ["ada", "driver upgrade", "3,4", "1 of 1", "live", &first.pid().to_string()] {
        assert!(table.contains(part), "{table}");
    }
    // The table of devices says so, too, and leaves the driver alone.
    let asked = |arguments: &[&str]| {
        let mut command = node.command("gpu-device-plugin").unwrap();
        command.args(node.plugin_flags()).args(arguments).output().unwrap()
    };
    let devices = asked(&["devices"]);
    assert!(said(&devices).contains(&format!("{} is leased by ada", gpus(&node)[3])), "{}", said(&devices));
    let id = list(&node)[0]["id"].as_str().unwrap().to_owned();
    // So does the inventory, which is one for `explain` all the same.
    let devices = asked(&["devices", "--output=json"]);
    let inventory: serde_json::Value = serde_json::from_slice(&devices.stdout).unwrap();
    let [lease] = inventory["leases"].as_array().unwrap().as_slice() else { panic!("{inventory}") };
    assert_eq!((lease["id"].as_str().unwrap(), lease["who"].as_str().unwrap()), (id.as_str(), "ada"));
    assert_eq!(lease["gpus"].as_array().unwrap().len(), 2);
    assert!(lease["expires_at"].is_string() && lease["purpose"] == "driver upgrade", "{lease}");
    let file = node.dir().join("inventory.json");
    fs::write(&file, &devices.stdout).unwrap();
    let explained = asked(&["explain", "--node", file.to_str().unwrap()]);
    assert!(said(&explained).contains("nvidia.com/gpu"), "{}", said(&explained));
    let asked = run(&node, &["release", &id, "--who=bob", "--why=the node is needed"]);
    assert_eq!(asked.status.code(), Some(0), "{}", said(&asked));
    assert!(first.wait(PATIENCE).unwrap().success());
    first.says("the node is needed (bob)").unwrap();
    counts(&kubelet, 8, 8);
    let unknown = run(&node, &["release", &id, "--who=bob", "--why=again"]);
    assert!(said(&unknown).contains("there is no lease"), "{}", said(&unknown));
}

// A lease with a command goes on until that ends: whoever asks is told by whom it is held.
#[tokio::test]
async fn lease_with_a_command_is_not_taken_away_and_ends_with_its_owner_however_that_ends() {
    let (node, kubelet, _plugin) = serving().await;
    reported(&node);
    let owner = hold(&node, &["--gpu=0", "--", "sleep", "600"]);
    counts(&kubelet, 8, 7);
    owner.says("1 of 1 daemons have let go").unwrap();
    let id = list(&node)[0]["id"].as_str().unwrap().to_owned();
    let refused = run(&node, &["release", &id, "--who=bob", "--why=now", "--wait=0s"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains(&format!("process {}", owner.pid())), "{}", said(&refused));
    owner.says("which ends with sleep").unwrap();
    owner.signal(Signal::TERM).unwrap();
    assert_eq!(owner.wait(PATIENCE).unwrap().code(), Some(128 + 15), "it was passed on");
    counts(&kubelet, 8, 8);

    let killed = hold(&node, &["--gpu=0"]);
    killed.says("held until").unwrap();
    killed.signal(Signal::KILL).unwrap();
    assert_eq!(killed.wait(PATIENCE).unwrap().signal(), Some(9));
    counts(&kubelet, 8, 8);
    let left = list(&node);
    assert_eq!((left.len(), &left[0]["state"]), (1, &"owner dead".into()));
    let cleared = run(&node, &["release", left[0]["id"].as_str().unwrap(), "--who=bob", "--why=dead"]);
    assert!(said(&cleared).contains("cleared away"), "{}", said(&cleared));
    assert!(said(&run(&node, &["list"])).contains("No GPU is leased"));
}

#[tokio::test]
async fn hold_waits_for_pods_and_says_which_and_gives_up_in_time() {
    let (node, kubelet, _plugin) = serving().await;
    reported(&node);
    kubelet.allocate("team/trainer", "main", RESOURCE, 8).await.unwrap();
    let late = run(&node, &["hold", "--gpu=1", "--purpose=x", "--timeout=1s", "--", "true"]);
    assert_eq!(late.status.code(), Some(1));
    let waiting = hold(&node, &["--gpu=1", "--output=json"]);
    waiting.says("held by team/trainer").unwrap();
    eventually("the list says it too", || match list(&node).as_slice() {
        [lease] if lease["holders"][0]["pod"] == "team/trainer" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let despite = run(&node, &["hold", "--gpu=2", "--purpose=x", "--despite-pods", "--", "true"]);
    assert_eq!(despite.status.code(), Some(0), "{}", said(&despite));
    kubelet.release("team/trainer");
    waiting.says("held until").unwrap();
    waiting.says("\"state\": \"live\"").unwrap();
    waiting.signal(Signal::INT).unwrap();
    assert!(waiting.wait(PATIENCE).unwrap().success());
    counts(&kubelet, 8, 8);
}

#[test]
fn gpu_that_nobody_knows_is_refused_by_name_and_a_node_without_daemons_needs_no_answer() {
    let node = bare().build().unwrap();
    let unknown = run(&node, &["hold", "--gpu=9", "--purpose=x", "--", "true"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(said(&unknown).contains("plugin has written its report"), "{}", said(&unknown));
    let bad = run(&node, &["hold", "--gpu", &gpus(&node)[0], "--purpose= ", "--", "true"]);
    assert!(said(&bad).contains("purpose is"), "{}", said(&bad));
    let done = run(&node, &["hold", "--gpu", &gpus(&node)[0], "--purpose=x", "--expires=25h", "--", "true"]);
    assert!(said(&done).contains("duration"), "{}", said(&done));
    let done = run(&node, &["hold", "--gpu", &gpus(&node)[0], "--purpose=x", "--", "true"]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    assert_eq!(folder(&node).daemons().unwrap().len(), 0);
}

/// Thaws, however the test ends: what hangs there could never be ended otherwise.
struct Frozen<'a>(&'a Path);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        freeze::thaw(self.0).unwrap();
    }
}

// Fails if `answer_releases` in worker/src/supervisor.rs does not wait for those that were given up: the driver would be
// taken for free while a process still sits in it.
#[tokio::test]
async fn worker_that_not_even_sigkill_ends_holds_a_lease_up_with_the_reason_until_it_is_gone() {
    let (node, kubelet, plugin) = serving_with(&[&QUICK[..], &["--nvml-call-timeout=1s"]].concat()).await;
    reported(&node);
    first_questions_are_answered(&plugin);
    let driver = node.driver();
    if let Err(error) = freeze::freeze(driver.dir()) {
        // It needs root, loop devices and the programs that make and freeze a file system.
        eprintln!("skipped: {error}");
        return;
    }
    let frozen = Frozen(driver.dir());
    let fault = Fault { gpu: Some("2".into()), ..Fault::new("nvmlDevice*", Effect::Freeze) };
    driver.add_fault(Fault { occurrence: Occurrence::Times(1), ..fault }).unwrap();
    let abandoned =
        || plugin.metric("gantry_device_plugin_nvml_workers_abandoned{role=\"queries\"}").unwrap();
    eventually("a worker hangs in the driver", || if abandoned() > 0.5 { Ok(()) } else { Err("none") });

    let owner = hold(&node, &["--gpu=2"]);
    owner.says("has not let go").unwrap();
    plugin.ready_and_says(&["leased by ada", "waits for the NVML workers to end"]).unwrap();
    let late = run(&node, &["hold", "--gpu=3", "--purpose=x", "--timeout=1s", "--", "true"]);
    assert!(said(&late).contains("has not let go"), "{}", said(&late));
    let [lease] = list(&node).try_into().unwrap_or_else(|all| panic!("{all:?}"));
    assert_eq!(
        (lease["awaited"].as_array().unwrap().len(), lease["acknowledged"].as_array().unwrap().len()),
        (1, 0)
    );
    let table = said(&run(&node, &["list"]));
    assert!(table.contains("0 of 1") && table.contains("has not let go"), "{table}");
    // The others are offered all the same.
    counts(&kubelet, 8, 7);

    drop(frozen);
    owner.says("1 of 1 daemons have let go").unwrap();
    assert!(abandoned() < 0.5);
    owner.signal(Signal::INT).unwrap();
    counts(&kubelet, 8, 8);
}

// What the page promises to run anywhere.
#[tokio::test]
async fn commands_of_the_page_run_as_they_stand_there() {
    let (node, _kubelet, _plugin) = serving().await;
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/leases.md")).unwrap();
    let blocks = text.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap());
    let script: String = blocks.collect();
    assert!(script.contains("lease hold"));
    let folder = sim_node::find("gpu-device-plugin").unwrap().parent().unwrap().to_owned();
    let path = format!("{}:/usr/bin:/bin", folder.display());
    let mut shell = node.command_at(Path::new("/bin/bash"));
    shell.args(["-e", "-u", "-x", "-o", "pipefail", "-c", &script]);
    shell.env("PATH", path).env("GANTRY_HOST_ROOT", node.root()).env("GANTRY_RUN_DIR", node.run_dir());
    shell.env("GANTRY_KUBELET_DIR", node.kubelet_dir());
    let done = shell.output().unwrap();
    assert!(done.status.success() && said(&done).contains("nobody uses it"), "{}", said(&done));
}
