//! Leases of GPUs: what the kubelet sees, what the owner is told, and what is left alone meanwhile.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use fake_kubelet::{Event, FakeKubelet};
use gpu_health::Moment;
use node_contract::{Answers, LeaseFolder, LeaseHold, LeaseRequest, Observed};
use node_host::{HostRoot, LocalPath, boot_id};
use nvml_sim::{Effect, Fault, FaultEntry};
use rustix::time::{ClockId, clock_gettime};
use sim_node::{Process, Signal, SimNode};

use crate::harness::{
    PATIENCE, QUICK, RESOURCE, bare, counts, eventually, gpus, serving, start_kubelet, start_plugin,
};
use crate::resources::{PARTITIONED, SHARED_4, rig, write};

const HOUR: Duration = Duration::from_secs(3600);

pub fn folder(node: &SimNode) -> LeaseFolder {
    LeaseFolder::new(&LocalPath::new(node.run_dir()))
}

fn now() -> Moment {
    let up = clock_gettime(ClockId::Monotonic);
    Moment { up: Duration::new(up.tv_sec as u64, up.tv_nsec as u32), unix_ms: 0 }
}

/// A lease of these GPUs, whose owner is the test.
fn lease_for(node: &SimNode, gpus: &[String], duration: Duration) -> LeaseHold {
    let gpus = gpus.iter().map(|gpu| gpu.parse().unwrap()).collect();
    let boot = boot_id(&HostRoot::new(node.root())).unwrap();
    let (purpose, who) = ("driver upgrade".to_owned(), "ada".to_owned());
    folder(node).acquire(LeaseRequest { gpus, purpose, who, duration, boot }, now()).unwrap()
}

pub fn lease(node: &SimNode, gpus: &[String]) -> LeaseHold {
    lease_for(node, gpus, HOUR)
}

/// Waits until every daemon has let go, and gives what the only one saw.
pub fn acknowledged(hold: &LeaseHold) -> Observed {
    eventually("the plugin has let go", || match hold.answers().unwrap() {
        Answers { awaited, mut acknowledged } if awaited.is_empty() && acknowledged.len() == 1 => {
            Ok(acknowledged.remove(0).observed)
        }
        other => Err(format!("{other:?}")),
    })
}

/// Ids that the kubelet may not hand out.
fn unhealthy(kubelet: &FakeKubelet) -> BTreeSet<String> {
    let devices = kubelet.resources().resources.remove(RESOURCE).unwrap_or_default().devices;
    devices.into_iter().filter(|device| !device.healthy).map(|device| device.id).collect()
}

/// The process, and every process below it.
fn tree(process: &Process) -> Vec<u32> {
    let mut all = vec![process.pid()];
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let parent = |pid: u32| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
    };
    let mut at = 0;
    while let Some(above) = all.get(at).copied() {
        all.extend(pids.iter().copied().filter(|pid| parent(*pid) == Some(above)));
        at += 1;
    }
    all
}

/// Open device nodes and loaded libraries of the driver, in all processes of the plugin.
fn handles(plugin: &Process) -> Vec<String> {
    let mut found = Vec::new();
    for pid in tree(plugin) {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let targets = files.filter_map(|file| fs::read_link(file.path()).ok());
        let is_node = |target: &Path| target.to_string_lossy().contains("/dev/nvidia");
        found.extend(
            targets.filter(|target| is_node(target)).map(|target| format!("{pid} {}", target.display())),
        );
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        found.extend(
            maps.lines().filter(|line| line.contains("libnvidia-ml")).map(|line| format!("{pid} {line}")),
        );
    }
    found
}

// Fails without `is_leased` in the ledger (the kubelet goes on), and without `settle_leases` (it never comes back).
#[tokio::test]
async fn leased_gpu_is_off_the_list_before_the_owner_is_told_and_back_after_the_lease() {
    let (node, kubelet, plugin) = serving().await;
    let all = gpus(&node);
    let hold = lease(&node, &all[3..4]);
    let seen = acknowledged(&hold);
    // At the very moment of the answer.
    assert_eq!(unhealthy(&kubelet), BTreeSet::from([all[3].clone()]));
    assert_eq!((seen.held, seen.unconfirmed), (0, None));
    assert!(seen.lists[&RESOURCE.parse().unwrap()] > 1);
    plugin
        .ready_and_says(&["leased by ada", "driver upgrade", "acknowledged", "Unhealthy(reconfiguring)"])
        .unwrap();
    let one = |sample: &str| (plugin.metric(sample).unwrap() - 1.0).abs() < 0.1;
    assert!(one("gantry_device_plugin_leased_gpus"));
    assert!(one("gantry_device_plugin_leases{state=\"acknowledged\"}"));
    assert!(one(&format!(
        "gantry_device_plugin_gpu_health{{gpu=\"{}\",gpu_instance=\"\",reason=\"reconfiguring\"",
        all[3]
    )));
    assert!(kubelet.allocate("pod", "main", RESOURCE, 7).await.is_ok());
    drop(hold);
    counts(&kubelet, 8, 8);
    plugin.ready().unwrap();
    assert!(plugin.log().contains("lease over"));
}

// Fails without `Workers::End` in observe.rs: the workers keep the library, and a driver that is in use is not unloaded.
#[tokio::test]
async fn driver_can_be_unloaded_while_all_gpus_are_leased_and_none_is_listed_before_it_is_back() {
    let (node, kubelet, plugin) = serving().await;
    assert!(!handles(&plugin).is_empty(), "a worker has the library");
    let hold = lease(&node, &gpus(&node));
    acknowledged(&hold);
    assert_eq!(handles(&plugin), Vec::<String>::new());
    assert_eq!(tree(&plugin), [plugin.pid()], "no worker is left");
    assert_eq!(unhealthy(&kubelet).len(), 8);
    // Whoever asks, the driver is not.
    plugin.signal(Signal::HUP).unwrap();
    plugin.says("looking at everything, as asked").unwrap();
    node.driver().add_fault(Fault::new("nvmlInit_v2", Effect::Return(9))).unwrap();
    let starts = |plugin: &Process| plugin.metric("gantry_device_plugin_nvml_worker_starts_total").unwrap();
    let before = starts(&plugin);
    node.driver().reload(Some("590.44.01")).unwrap();
    drop(hold);
    plugin.readiness_says(&["no-driver"]).unwrap();
    assert!(starts(&plugin) > before);
    assert_eq!(unhealthy(&kubelet).len(), 8);
    node.driver().clear_faults(None).unwrap();
    counts(&kubelet, 8, 8);
    let report = fs::read_to_string(node.run_dir().join("device-plugin/inventory.json")).unwrap();
    assert!(report.contains("590.44.01"), "what was listed is the new driver's: {report}");
}

// Fails without `confine`: the worker that starts anew touches the leased GPU, and dies.
#[tokio::test]
async fn leased_gpu_is_touched_by_no_question_while_the_others_are_watched() {
    let (node, kubelet, plugin) = serving().await;
    let all = gpus(&node);
    let hold = lease(&node, &all[2..3]);
    acknowledged(&hold);
    let crash = Fault { gpu: Some("2".into()), ..Fault::new("nvmlDevice*", Effect::Crash) };
    node.driver().add_fault(crash).unwrap();
    plugin.signal(Signal::HUP).unwrap();
    // An event and a probe of another one are seen.
    plugin.says("watching 7 of 7 GPUs").unwrap();
    // Nothing but the event tells of it: a probe that comes first would find the recovery that the driver asks for.
    let xid = FaultEntry {
        gpu: Some("5".into()),
        xid: Some(79),
        no_recovery_action: true,
        ..FaultEntry::default()
    };
    node.driver().declare(xid).unwrap();
    node.driver().lose("6", None).unwrap();
    counts(&kubelet, 8, 5);
    plugin.ready_and_says(&["Unhealthy(xid-79)", "Unhealthy(gpu-lost)", "Unhealthy(reconfiguring)"]).unwrap();
    assert!(!plugin.log().contains("GPU is left out"), "{}", plugin.last_words(40));
    node.driver().clear_faults(None).unwrap();
    // One that is gone for a while is asked again during the lease.
    node.driver().give_back("6").unwrap();
    counts(&kubelet, 8, 6);
    drop(hold);
    counts(&kubelet, 8, 7);
}

// Fails if the observer begins before the leases were read: the list of the start would have all of them.
#[tokio::test]
async fn plugin_that_is_killed_while_gpus_are_leased_comes_up_with_them_out_of_service_and_lets_go_again() {
    for leased in [2, 8] {
        let (node, kubelet, plugin) = serving().await;
        eventually("the report is there", || {
            fs::metadata(node.run_dir().join("device-plugin/inventory.json"))
        });
        let all = gpus(&node);
        let hold = lease(&node, &all[..leased]);
        acknowledged(&hold);
        let first = hold.answers().unwrap().acknowledged[0].daemon.clone();
        plugin.signal(Signal::KILL).unwrap();
        plugin.wait(PATIENCE).unwrap();
        // Nobody is there, so nobody has to answer.
        assert_eq!(hold.answers().unwrap(), Answers::default());
        let crash =
            |gpu: usize| Fault { gpu: Some(gpu.to_string()), ..Fault::new("nvmlDevice*", Effect::Crash) };
        (0..leased).for_each(|gpu| node.driver().add_fault(crash(gpu)).unwrap());
        let seen = kubelet.log().len();
        let plugin = start_plugin(&node, &QUICK);
        counts(&kubelet, 8, 8 - leased);
        acknowledged(&hold);
        assert_ne!(hold.answers().unwrap().acknowledged[0].daemon, first);
        if leased == 8 {
            assert_eq!(handles(&plugin), Vec::<String>::new());
        }
        assert!(!plugin.log().contains("GPU is left out"), "{}", plugin.last_words(40));
        node.driver().clear_faults(None).unwrap();
        let log = kubelet.log();
        let most = log[seen..].iter().filter_map(|happening| match happening.event {
            Event::Listed { healthy, .. } => Some(healthy),
            _ => None,
        });
        assert_eq!(most.max(), Some(8 - leased));
        drop(hold);
        counts(&kubelet, 8, 8);
    }
}

#[tokio::test]
async fn pod_that_holds_a_leased_gpu_is_told_to_the_owner_until_it_ends() {
    let (node, kubelet, plugin) = serving().await;
    let held = kubelet.allocate("team/trainer", "main", RESOURCE, 1).await.unwrap().devices.remove(0);
    let hold = lease(&node, &gpus(&node));
    let seen = acknowledged(&hold);
    assert_eq!((seen.held, seen.holders.len()), (1, 1));
    assert_eq!((seen.holders[0].pod.as_deref(), &seen.holders[0].id), (Some("team/trainer"), &held));
    plugin.ready_and_says(&["pods hold 1 of its devices"]).unwrap();
    kubelet.release("team/trainer");
    eventually("the answer follows", || match acknowledged(&hold) {
        Observed { held: 0, .. } => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[tokio::test]
async fn lease_is_acknowledged_without_a_kubelet_with_the_reason_and_the_kubelet_comes_back_to_it() {
    let (node, kubelet, _plugin) = serving().await;
    kubelet.stop().await;
    let hold = lease(&node, &gpus(&node)[..1]);
    let seen = acknowledged(&hold);
    assert!(seen.unconfirmed.is_some(), "{seen:?}");
    kubelet.restart().await.unwrap();
    counts(&kubelet, 8, 7);
    eventually("it was confirmed", || match acknowledged(&hold) {
        Observed { unconfirmed: None, .. } => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[tokio::test]
async fn lease_ends_by_its_time_and_two_leases_are_independent() {
    let (node, kubelet, _plugin) = serving().await;
    let all = gpus(&node);
    // Of a GPU that no driver lists, too: there is nothing to take back.
    let absent = "GPU-00000000-0000-0000-0000-00000000dead".to_owned();
    let short = lease_for(&node, &[all[5].clone(), absent], Duration::from_secs(12));
    let long = lease(&node, &all[..2]);
    acknowledged(&short);
    acknowledged(&long);
    counts(&kubelet, 8, 5);
    counts(&kubelet, 8, 6);
    assert_eq!(unhealthy(&kubelet), [&all[0], &all[1]].map(String::clone).into());
    drop(long);
    counts(&kubelet, 8, 8);
}

#[tokio::test]
async fn file_that_is_no_lease_takes_no_gpu_and_is_told() {
    let (node, kubelet, plugin) = serving().await;
    let leases = node.run_dir().join("leases");
    let hold = lease(&node, &gpus(&node)[..1]);
    let file = leases.join(format!("{}.json", hold.lease().id));
    let text = fs::read_to_string(&file).unwrap();
    acknowledged(&hold);
    // One that was read counts on while its owner lives, whatever becomes of its file.
    fs::write(&file, "{").unwrap();
    plugin.ready_and_says(&["goes on as it was read before", "leased by ada"]).unwrap();
    counts(&kubelet, 8, 7);
    drop(hold);
    counts(&kubelet, 8, 8);

    fs::write(leases.join("huge.json"), vec![b'x'; 3 << 20]).unwrap();
    fs::write(leases.join("nonsense.json"), "[\"GPU\0\"]").unwrap();
    // It says that it is of another boot, and has an owner that lives.
    let boot = "11111111-2222-4333-8444-555555555555";
    let mut other: serde_json::Value = serde_json::from_str(&text).unwrap();
    (other["id"], other["boot_id"]) = ("other".into(), boot.into());
    let owner = fs::File::create(leases.join("other.owner")).unwrap();
    owner.lock().unwrap();
    fs::write(leases.join("other.json"), other.to_string()).unwrap();
    plugin.ready_and_says(&["huge.json is larger than", "nonsense.json"]).unwrap();
    counts(&kubelet, 8, 8);
}

#[tokio::test]
async fn lease_takes_all_shares_of_its_gpu_and_all_mig_devices_on_it() {
    let shared = rig(bare().build().unwrap(), SHARED_4, &[]).await;
    counts(&shared.kubelet, 32, 32);
    let hold = lease(&shared.node, &gpus(&shared.node)[..1]);
    acknowledged(&hold);
    counts(&shared.kubelet, 32, 28);
    drop(hold);
    counts(&shared.kubelet, 32, 32);
    drop(shared);

    let flags = ["--mig-strategy=mixed"];
    let parts = rig(bare().yaml(PARTITIONED).build().unwrap(), "version: v1\n", &flags).await;
    let all = [("nvidia.com/gpu", 2), ("nvidia.com/mig-1g.10gb", 1), ("nvidia.com/mig-3g.40gb", 1)];
    parts.offers(&all);
    let held = parts.kubelet.allocate("pod", "main", "nvidia.com/mig-3g.40gb", 1).await.unwrap().devices;
    let hold = lease(&parts.node, &gpus(&parts.node)[2..]);
    let seen = acknowledged(&hold);
    assert_eq!((seen.held, &seen.holders[0].id, seen.lists.len()), (1, &held[0], 2));
    assert_eq!(parts.resource("nvidia.com/mig-1g.10gb").allocatable, 0);
    assert_eq!(parts.resource("nvidia.com/gpu").allocatable, 2);
    drop(hold);
    parts.offers(&all);
}

// Without a report nobody knows which of the driver's GPUs a lease means, and to look would touch it.
#[tokio::test]
async fn first_plugin_of_a_boot_touches_no_driver_while_a_gpu_is_leased() {
    let node = bare().build().unwrap();
    let kubelet = start_kubelet(&node).await;
    let hold = lease(&node, &gpus(&node)[..1]);
    let plugin = start_plugin(&node, &QUICK);
    plugin.readiness_says(&["\"leased\""]).unwrap();
    acknowledged(&hold);
    assert_eq!(handles(&plugin), Vec::<String>::new());
    drop(hold);
    counts(&kubelet, 8, 8);
}

// Fails without `wait_for_config`: the first inventory has left a worker with handles, and nobody ends it.
#[tokio::test]
async fn plugin_that_offers_nothing_for_want_of_a_config_lets_go_as_well() {
    let rig = rig(bare().build().unwrap(), "version: v9\n", &[]).await;
    rig.plugin.readiness_says(&["config-invalid"]).unwrap();
    eventually("a worker has the library", || match handles(&rig.plugin).len() {
        0 => Err("none yet"),
        _ => Ok(()),
    });
    let hold = lease(&rig.node, &gpus(&rig.node));
    acknowledged(&hold);
    assert_eq!(handles(&rig.plugin), Vec::<String>::new());
    drop(hold);
    write(&rig.node, "version: v1\n");
    counts(&rig.kubelet, 8, 8);
}
