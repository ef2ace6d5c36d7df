//! The daemon over time: drivers that come late and go, GPUs that are lost, MIG and configs that change.

use node_host::LocalPath;
use sim_node::{Signal, SimNode};

use crate::harness::{bare, file, file_says, in_file, start};

const COUNT: &str = "nvidia.com/gpu.count";

/// Looks often: these tests wait for what no event tells.
const QUICK: &str = "--sleep-interval=1s";

const PARTITIONED: &str = r#"
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

#[test]
fn leased_gpus_are_let_go_of_and_labels_stay() {
    let node = bare().build().unwrap();
    let discovery = start(&node, &[QUICK]);
    let labels = file_says(&node, COUNT, Some("8"));
    let run_dir = LocalPath::new(node.run_dir());
    let folder = node_contract::LeaseFolder::new(&run_dir);
    let boot = node_host::boot_id(&node_host::HostRoot::new(node.root())).unwrap();
    let gpu = node.driver().node().unwrap().gpus[0].uuid.parse().unwrap();
    let request = node_contract::LeaseRequest {
        gpus: [gpu].into(),
        purpose: "a driver upgrade".to_owned(),
        who: "a test".to_owned(),
        duration: std::time::Duration::from_secs(600),
        boot,
    };
    let lease = folder.acquire(request, node_contract::now()).unwrap();
    discovery.ready_and_says(&["leased by a test", "a driver upgrade"]).unwrap();
    let answered = || {
        let answers = lease.answers().map_err(|error| error.to_string())?;
        if answers.awaited.is_empty() && answers.acknowledged.len() == 1 {
            Ok(())
        } else {
            Err(format!("{answers:?}"))
        }
    };
    sim_node::eventually("the lease is acknowledged", std::time::Duration::from_secs(30), answered).unwrap();
    assert_eq!(in_file(&node).unwrap(), labels);
    drop(lease);
    file_says(&node, COUNT, Some("8"));
}
