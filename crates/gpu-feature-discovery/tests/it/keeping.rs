//! The daemon over time: drivers that come late and go, GPUs that are lost, MIG and configs that change.

use std::path::PathBuf;
use std::time::Duration;

use node_contract::{LeaseFolder, LeaseHold, LeaseRequest};
use node_host::LocalPath;
use nvml_sim::{Effect, Fault};
use sim_node::{Process, Signal, SimNode};

use crate::harness::{bare, file, file_says, in_file, start};

pub const COUNT: &str = "nvidia.com/gpu.count";

/// Looks often: these tests wait for what no event tells.
pub const QUICK: &str = "--sleep-interval=1s";

pub const PARTITIONED: &str = r#"
seed: mig
driver: {version: 580.95.05, cuda: "13.0"}
gpus:
  - {model: H100-SXM5-80GB, pci: "0000:07:00.0", numa: 0, pcie: 0/0/0/0, mig-instances: [1g.10gb@0, 3g.40gb@4]}
"#;

#[test]
fn driver_that_comes_late_is_taken_up_and_one_that_goes_costs_no_label_also_over_a_restart() {
    let node = bare().without_driver().build().unwrap();
    let discovery = start(&node, &[QUICK]);
    discovery.readiness_says(&["\"no-driver\"", "libnvidia-ml.so.1"]).unwrap();
    node.install_driver().unwrap();
    let labels = file_says(&node, COUNT, Some("8"));
    discovery.ready().unwrap();
    let library = node.root().join("usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1");
    std::fs::remove_file(library.with_file_name(std::fs::read_link(&library).unwrap())).unwrap();
    std::fs::remove_file(library).unwrap();
    drop(discovery);
    std::fs::remove_file(file(&node)).unwrap();
    let next = start(&node, &[QUICK]);
    next.readiness_says(&["\"no-driver\"", "labels stay as they were"]).unwrap();
    assert_eq!(file_says(&node, COUNT, Some("8")), labels);
}

#[test]
fn killed_daemon_leaves_a_whole_file_that_expires_one_day() {
    let node = bare().build().unwrap();
    let discovery = start(&node, &[]);
    let labels = file_says(&node, COUNT, Some("8"));
    discovery.signal(Signal::KILL).unwrap();
    drop(discovery);
    assert_eq!(in_file(&node).unwrap(), labels);
    let text = std::fs::read_to_string(file(&node)).unwrap();
    let expiry = text.lines().next().and_then(|line| line.strip_prefix("# +expiry-time=")).unwrap();
    assert!(expiry.parse::<jiff::Timestamp>().unwrap() > jiff::Timestamp::now(), "{expiry}");
}

#[test]
fn change_of_mig_and_of_the_config_become_labels() {
    let node = bare().yaml(PARTITIONED).build().unwrap();
    let config = node.dir().join("config.yaml");
    std::fs::write(&config, "version: v1\nflags: {migStrategy: mixed}\n").unwrap();
    let discovery = start(&node, &[QUICK, &format!("--config-file={}", config.display())]);
    file_says(&node, "nvidia.com/mig-1g.10gb.count", Some("1"));
    let gone = |mig: &mut nvml_sim::MigState, gpu: &nvml_sim::Gpu| {
        mig.destroy_compute(gpu, 7, 0)?;
        mig.destroy(gpu, 7)
    };
    node.driver().change_mig("0", gone).unwrap();
    file_says(&node, "nvidia.com/mig-1g.10gb.count", None);
    std::fs::write(&config, "version: v1\nflags: {migStrategy: none}\n").unwrap();
    file_says(&node, "nvidia.com/mig-3g.40gb.count", None);
    std::fs::write(&config, "version: v1\nflags: {migStrategie: mixed}\n").unwrap();
    discovery.readiness_says(&["config-invalid", "migStrategie", "stays in force"]).unwrap();
    assert_eq!(in_file(&node).unwrap().get("nvidia.com/gpu.count").map(String::as_str), Some("1"));
}

#[test]
fn lost_gpu_is_labelled_as_before_until_it_was_missed_three_times() {
    let node = bare().build().unwrap();
    let discovery = start(&node, &[QUICK]);
    file_says(&node, COUNT, Some("8"));
    take_away(&node, "7");
    discovery.ready_and_says(&["labelled as before", "GPU-"]).unwrap();
    assert_eq!(in_file(&node).unwrap().get(COUNT).map(String::as_str), Some("8"));
    file_says(&node, COUNT, Some("7"));
    assert!(discovery.metric("gantry_feature_discovery_looks_total{result=\"partial\"}").unwrap() >= 2.0);
}

fn take_away(node: &SimNode, gpu: &str) {
    node.driver().set(gpu, "persistence-mode", "off").unwrap();
    node.driver().drain(gpu, true).unwrap();
    node.driver().remove_gpu(gpu, false).unwrap();
}

/// How many processes it has started that are there.
pub fn children(of: &Process) -> usize {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let is_child = |pid: &String| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        parent == Some(of.pid())
    };
    pids.filter_map(|entry| entry.file_name().into_string().ok()).filter(is_child).count()
}

fn lease(node: &SimNode, gpus: &[usize]) -> LeaseHold {
    lease_in(node.run_dir(), node, gpus)
}

fn lease_in(run_dir: impl Into<PathBuf>, node: &SimNode, gpus: &[usize]) -> LeaseHold {
    let all = node.driver().node().unwrap().gpus;
    let request = LeaseRequest {
        gpus: gpus.iter().map(|gpu| all[*gpu].uuid.parse().unwrap()).collect(),
        purpose: "a driver upgrade".to_owned(),
        who: "a test".to_owned(),
        duration: Duration::from_secs(600),
        boot: node_host::boot_id(&node_host::HostRoot::new(node.root())).unwrap(),
    };
    let folder = LeaseFolder::new(&LocalPath::new(run_dir));
    folder.acquire(request, node_contract::now()).unwrap()
}

fn acknowledged(lease: &LeaseHold) {
    let answered = || {
        let answers = lease.answers().map_err(|error| error.to_string())?;
        if answers.awaited.is_empty() && answers.acknowledged.len() == 1 {
            Ok(())
        } else {
            Err(format!("{answers:?}"))
        }
    };
    sim_node::eventually("the lease is acknowledged", Duration::from_secs(30), answered).unwrap();
}

#[test]
fn leased_gpus_are_let_go_of_and_labels_stay() {
    let node = bare().build().unwrap();
    let discovery = start(&node, &["--sleep-interval=infinite"]);
    let labels = file_says(&node, COUNT, Some("8"));
    // Both workers have the library.
    discovery.says("watching 8 of 8 GPUs").unwrap();
    let lease = lease(&node, &[0, 1, 2, 3, 4, 5, 6, 7]);
    discovery.ready_and_says(&["leased by a test", "a driver upgrade"]).unwrap();
    acknowledged(&lease);
    assert_eq!(children(&discovery), 0);
    assert_eq!(in_file(&node).unwrap(), labels);
    drop(lease);
    file_says(&node, COUNT, Some("8"));
    discovery.ready().unwrap();
}

// Fails where events are watched meanwhile: a worker more starts in each pause.
#[test]
fn lease_that_cannot_be_acknowledged_is_tried_again_with_no_worker_for_events() {
    let node = bare().build().unwrap();
    let discovery = start(&node, &["--sleep-interval=infinite"]);
    file_says(&node, COUNT, Some("8"));
    discovery.says("watching 8 of 8 GPUs").unwrap();
    let folder = LeaseFolder::new(&LocalPath::new(node.run_dir()));
    let daemon = folder.daemons().unwrap().pop_first().unwrap();
    // Taken elsewhere, so that the place of the answer can be made useless before.
    let elsewhere = node.dir().join("elsewhere");
    let lease = lease_in(&elsewhere, &node, &[2]);
    let id = &lease.lease().id;
    let answer = folder.path().join(format!("{id}.{daemon}.ack"));
    std::fs::create_dir_all(answer.join("in-the-way").as_path()).unwrap();
    for name in [format!("{id}.owner"), format!("{id}.json")] {
        std::fs::rename(elsewhere.join("leases").join(&name), folder.path().join(&name).as_path()).unwrap();
    }
    discovery.ready_and_says(&["cannot be acknowledged"]).unwrap();
    // Each try makes a file that it has to take back.
    let changed = || std::fs::metadata(folder.path().as_path()).and_then(|folder| folder.modified()).unwrap();
    let before = changed();
    let tried = || if changed() > before { Ok(()) } else { Err("not yet".to_owned()) };
    sim_node::eventually("it is tried again", Duration::from_secs(30), tried).unwrap();
    let starts = || {
        let starts = "gantry_feature_discovery_nvml_worker_starts_total{role=\"events\"}";
        discovery.metric(starts).unwrap()
    };
    assert_eq!(starts(), 1.0);
    std::fs::remove_dir_all(answer.as_path()).unwrap();
    let answered = || match folder.answers(id).map_err(|error| error.to_string())? {
        answers if answers.acknowledged.len() == 1 => Ok(()),
        answers => Err(format!("{answers:?}")),
    };
    sim_node::eventually("the lease is acknowledged", Duration::from_secs(30), answered).unwrap();
    discovery.says("watching 7 of 7 GPUs").unwrap();
    assert_eq!(starts(), 2.0);
}

// Fails without `confine`: the worker that starts anew touches the leased GPU, and dies.
#[test]
fn leased_gpu_is_left_alone_and_labelled_as_before_while_the_others_are_looked_at() {
    const SLICES: &str = "nvidia.com/mig-1g.10gb.count";
    let node = bare().preset("dgx-h100").build().unwrap();
    let discovery = start(&node, &["--sleep-interval=infinite", "--mig-strategy=mixed"]);
    file_says(&node, COUNT, Some("8"));
    let lease = lease(&node, &[2]);
    acknowledged(&lease);
    discovery.says("watching 7 of 7 GPUs").unwrap();
    let starts = || {
        let of = |role| format!("gantry_feature_discovery_nvml_worker_starts_total{{role=\"{role}\"}}");
        ["queries", "events"].map(|role| discovery.metric(&of(role)).unwrap())
    };
    let started = starts();
    let crash = Fault { gpu: Some("2".into()), ..Fault::new("nvmlDevice*", Effect::Crash) };
    node.driver().add_fault(crash).unwrap();
    let cut = |mig: &mut nvml_sim::MigState, gpu: &nvml_sim::Gpu| {
        let _ = mig.set_mode(gpu, true)?;
        let id = mig.create(gpu, 19, None)?;
        mig.create_compute(gpu, id, 0, None)
    };
    node.driver().change_mig("5", cut).unwrap();
    let labels = file_says(&node, SLICES, Some("1"));
    assert_eq!(labels[COUNT], "8");
    assert_eq!(starts(), started, "a worker died");
    discovery.ready_and_says(&["leased by a test"]).unwrap();
    node.driver().clear_faults(None).unwrap();
    node.driver().change_mig("2", cut).unwrap();
    drop(lease);
    file_says(&node, SLICES, Some("2"));
}
