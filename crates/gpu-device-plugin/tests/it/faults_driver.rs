//! Rows of the fault matrix about GPUs and the driver that no other file tells.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use nvml_sim::{Effect, Fault, FaultEntry, freeze};
use sim_node::{Signal, SimNode};

use crate::harness::{
    PATIENCE, QUICK, RESOURCE, bare, counts, eventually, first_questions_are_answered, gpus, repeats,
    serving, serving_with, start_kubelet, start_plugin,
};

fn tell(node: &SimNode, words: &[&str]) {
    let mut command: Command = node.command("nvml-sim").unwrap();
    let done = command.args(words).output().unwrap();
    assert!(done.status.success(), "{words:?}: {done:?}");
}

fn fault(gpu: &str) -> FaultEntry {
    FaultEntry { gpu: Some(gpu.to_owned()), ..FaultEntry::default() }
}

// Fails if the table calls XID 109 critical where the driver asks for nothing.
#[tokio::test]
async fn f28_xid_109_without_a_recovery_action_degrades_and_takes_nothing() {
    let (node, kubelet, plugin) = serving().await;
    plugin.says("watching 8 of 8 GPUs").unwrap();
    let xid = FaultEntry { xid: Some(109), no_recovery_action: true, ..fault("2") };
    node.driver().declare(xid).unwrap();
    plugin.ready_and_says(&[&format!("{} is Degraded(xid-109)", gpus(&node)[2])]).unwrap();
    counts(&kubelet, 8, 8);
    assert!(kubelet.allocate("pod", "main", RESOURCE, 8).await.is_ok());
}

// Fails if an XID that is in no table is critical, or passed over.
#[tokio::test]
async fn f42_xid_that_nobody_knows_degrades_and_takes_nothing() {
    let (node, kubelet, plugin) = serving().await;
    plugin.says("watching 8 of 8 GPUs").unwrap();
    node.driver().inject_xid("2", 999, None, None).unwrap();
    plugin.ready_and_says(&[&format!("{} is Degraded(xid-999)", gpus(&node)[2])]).unwrap();
    counts(&kubelet, 8, 8);
}

// Fails if health is judged by events alone, or each failure of the wait is told.
#[tokio::test]
async fn f29_events_that_fail_for_ever_leave_the_probes_to_judge_and_the_log_readable() {
    let (node, kubelet, plugin) = serving().await;
    plugin.says("watching 8 of 8 GPUs").unwrap();
    // NVML_ERROR_UNKNOWN.
    node.driver().add_fault(Fault::new("nvmlEventSetWait*", Effect::Return(999))).unwrap();
    plugin.says("events may have been missed").unwrap();
    node.driver().lose("5", None).unwrap();
    counts(&kubelet, 8, 7);
    plugin.ready_and_says(&["Unhealthy(gpu-lost)"]).unwrap();
    node.driver().give_back("5").unwrap();
    // Three more probes at least.
    counts(&kubelet, 8, 8);
    let told = plugin.log().lines().filter(|line| line.contains("nvmlEventSetWait")).count();
    assert!((1..=10).contains(&told), "{told} lines:\n{}", plugin.log());
}

// Fails if the worker is not started anew, or a GPU that was not asked counts as sick at once.
#[tokio::test]
async fn f33_driver_library_that_crashes_again_and_again_costs_no_device_and_no_pod() {
    let (node, kubelet, plugin) = serving().await;
    plugin.says("watching 8 of 8 GPUs").unwrap();
    let every_100th = ["fault", "crash", "nvmlDeviceGet*", "--probability=1%", "--seed=33"];
    tell(&node, &every_100th);
    let starts = || plugin.metric("gantry_device_plugin_nvml_worker_starts_total").unwrap();
    let begun = starts();
    let crashes = u32::try_from(repeats(3, 100)).unwrap();
    eventually("it has crashed often", || {
        // Beside it pods come and go.
        let state = kubelet.resources().resources.remove(RESOURCE).unwrap();
        assert_eq!((state.capacity, state.allocatable), (8, 8), "{state:?}");
        let more = starts() - begun;
        if more >= f64::from(crashes) { Ok(()) } else { Err(more.to_string()) }
    });
    for pod in 0..8 {
        kubelet.allocate(format!("pod-{pod}").as_str(), "main", RESOURCE, 1).await.unwrap();
    }
    node.driver().clear_faults(None).unwrap();
    plugin.ready().unwrap();
    counts(&kubelet, 8, 8);
}

// Fails if `raw!` in nvml's binding does not give an error where the library lacks the function.
#[tokio::test]
async fn f34_library_of_an_old_driver_serves_what_it_can() {
    let node = bare().without_driver().build().unwrap();
    let root = node.root().to_str().unwrap().to_owned();
    tell(&node, &["root", "--symbols=470", &root]);
    let kubelet = start_kubelet(&node).await;
    let plugin = start_plugin(&node, &QUICK);
    counts(&kubelet, 8, 8);
    plugin.ready().unwrap();
    node.driver().lose("5", None).unwrap();
    counts(&kubelet, 8, 7);
    let starts = plugin.metric("gantry_device_plugin_nvml_worker_starts_total").unwrap();
    assert!(starts < 3.5, "{starts}: a worker crashes");
    assert!(kubelet.allocate("pod", "main", RESOURCE, 7).await.is_ok());
}

// Fails if `gpu_count` in nvml believes whatever is counted, or what cannot be believed ends the process.
#[tokio::test]
async fn f35_garbage_from_the_driver_is_told_and_neither_believed_nor_fatal() {
    let (node, kubelet, plugin) = serving().await;
    plugin.says("watching 8 of 8 GPUs").unwrap();
    first_questions_are_answered(&plugin);
    for seed in 1..=3 {
        for function in ["nvmlDeviceGetCount_v2", "nvmlDeviceGetUUID", "nvmlDeviceGetFieldValues"] {
            node.driver().add_fault(Fault::new(function, Effect::Garbage { seed })).unwrap();
        }
        let probes = || plugin.metric("gantry_device_plugin_nvml_calls_total{role=\"queries\"}").unwrap();
        let before = probes();
        eventually("it was asked meanwhile", || {
            let asked = probes() - before;
            if asked > 30.0 { Ok(()) } else { Err(asked.to_string()) }
        });
        let listed = kubelet.resources().resources.remove(RESOURCE).unwrap();
        assert_eq!(listed.capacity, 8, "{listed:?}");
        node.driver().clear_faults(None).unwrap();
        counts(&kubelet, 8, 8);
    }
    plugin.ready().unwrap();
    assert!(kubelet.allocate("pod", "main", RESOURCE, 8).await.is_ok());
}

// Fails if the observer does not look at the host's device nodes with each probe.
#[tokio::test]
async fn f36_driver_that_is_unloaded_takes_all_devices_until_it_is_loaded_again() {
    let (node, kubelet, plugin) = serving().await;
    kubelet.allocate("held", "main", RESOURCE, 2).await.unwrap();
    for _ in 0..repeats(1, 10) {
        // Its libraries, its device nodes, and the kernel's module behind them.
        let parts = ["root/dev", "root/usr", "driver"].map(|part| node.dir().join(part));
        let away = |part: &Path| part.with_extension("away");
        for part in &parts {
            std::fs::rename(part, away(part)).unwrap();
        }
        counts(&kubelet, 8, 0);
        plugin.readiness_says(&["driver"]).unwrap();
        for part in &parts {
            std::fs::rename(away(part), part).unwrap();
        }
        node.driver().reload(None).unwrap();
        counts(&kubelet, 8, 8);
        plugin.ready().unwrap();
    }
    kubelet.restart_container("held", "main", RESOURCE).await.unwrap();
    assert!(kubelet.allocate("rest", "main", RESOURCE, 6).await.is_ok());
}

// Fails if `take_answer` does not want the inventory anew from a driver that answers again.
#[tokio::test]
async fn f37_driver_of_another_version_is_taken_up_under_the_running_plugin() {
    let (node, kubelet, plugin) = serving().await;
    kubelet.allocate("held", "main", RESOURCE, 2).await.unwrap();
    node.driver().reload(Some("580.105.08")).unwrap();
    node.install_driver().unwrap();
    eventually("the report has the new version", || {
        let path = node.run_dir().join("device-plugin/inventory.json");
        let report = std::fs::read_to_string(path).unwrap_or_default();
        let read: serde_json::Value = serde_json::from_str(&report).unwrap_or_default();
        let driver = read["inventory"]["driver"].to_string();
        if driver.contains("580.105.08") { Ok(()) } else { Err(driver) }
    });
    counts(&kubelet, 8, 8);
    plugin.ready().unwrap();
    assert!(kubelet.allocate("rest", "main", RESOURCE, 6).await.is_ok());
}

// Fails if `of_absence` in evidence.rs does not compare with what the last process kept.
#[tokio::test]
async fn f38_gpu_that_is_gone_after_a_restart_is_told_and_the_other_seven_are_offered() {
    let (node, kubelet, plugin) = serving().await;
    let gone = gpus(&node)[7].clone();
    eventually("health is kept", || node.state_dir().join("device-plugin/health.json").metadata());
    plugin.signal(Signal::KILL).unwrap();
    plugin.wait(PATIENCE).unwrap();
    node.driver().set("7", "persistence-mode", "off").unwrap();
    node.driver().drain("7", true).unwrap();
    node.driver().remove_gpu("7", false).unwrap();
    let plugin = start_plugin(&node, &QUICK);
    counts(&kubelet, 7, 7);
    let gauge =
        format!("gantry_device_plugin_gpu_health{{gpu=\"{gone}\",gpu_instance=\"\",reason=\"gpu-vanished\"");
    eventually("the gauge says so", || {
        let value = plugin.metric(&gauge).unwrap();
        if value > 0.9 { Ok(()) } else { Err(plugin.admin_get("/metrics").unwrap().body) }
    });
    assert!(kubelet.allocate("pod", "main", RESOURCE, 7).await.is_ok());
}

// Fails if a probe that meets a stranger asks for no inventory, or if the list comes by a new registration.
#[tokio::test]
async fn gpu_that_is_plugged_in_is_offered_beside_the_others_by_the_stream_that_there_is() {
    let node = bare().build().unwrap();
    let newcomer = gpus(&node)[7].clone();
    node.driver().set("7", "persistence-mode", "off").unwrap();
    node.driver().drain("7", true).unwrap();
    node.driver().remove_gpu("7", false).unwrap();
    let kubelet = start_kubelet(&node).await;
    let plugin = start_plugin(&node, &QUICK);
    counts(&kubelet, 7, 7);
    assert!(kubelet.allocate("before", "main", RESOURCE, 7).await.is_ok());
    node.driver().discover_gpus(None).unwrap();
    counts(&kubelet, 8, 8);
    // The only one that is free.
    let got = kubelet.allocate("after", "main", RESOURCE, 1).await.unwrap();
    assert_eq!(got.devices, [newcomer]);
    assert!(plugin.metric("gantry_device_plugin_registrations_total").unwrap() < 1.5);
}

// Fails if Allocate, the metrics or the list ask the driver.
#[tokio::test]
async fn f40_calls_of_five_seconds_hold_up_neither_pods_nor_the_metrics() {
    let flags = ["--cdi-proof=assume", "--probe-interval=1s", "--nvml-call-timeout=300ms"];
    let (node, kubelet, plugin) = serving_with(&flags).await;
    first_questions_are_answered(&plugin);
    tell(&node, &["set", "latency=5s"]);
    plugin.readiness_says(&["nvml-stuck"]).unwrap();
    for pod in 0..8 {
        kubelet.allocate(format!("pod-{pod}").as_str(), "main", RESOURCE, 1).await.unwrap();
        assert_eq!(plugin.admin_get("/metrics").unwrap().status, 200);
    }
    counts(&kubelet, 8, 8);
    tell(&node, &["set", "latency=0ms"]);
    plugin.ready().unwrap();
}

/// Thaws however a test ends: what hangs there could never be ended otherwise.
struct Frozen<'a>(&'a Path);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        freeze::thaw(self.0).unwrap();
    }
}

/// Whether a child of this process waits in the kernel, beyond the reach of signals.
fn has_child_in_state_d(parent: u32) -> bool {
    let children = std::fs::read_dir(format!("/proc/{parent}/task")).unwrap();
    let lists = children.map(|task| std::fs::read_to_string(task.unwrap().path().join("children")));
    let pids: Vec<String> = lists
        .flatten()
        .flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let threads = pids.iter().filter_map(|pid| std::fs::read_dir(format!("/proc/{pid}/task")).ok()).flatten();
    // A process may end meanwhile.
    threads.flatten().any(|thread| {
        std::fs::read_to_string(thread.path().join("status")).is_ok_and(|status| status.contains("State:\tD"))
    })
}

// Fails if the process waits for its workers when it ends, or asks the driver from the task that serves.
#[tokio::test]
async fn f32_hang_that_no_signal_ends_holds_up_neither_pods_nor_the_end_of_the_process() {
    let flags = ["--cdi-proof=assume", "--probe-interval=1s", "--nvml-call-timeout=300ms"];
    let (node, kubelet, plugin) = serving_with(&flags).await;
    if let Err(error) = freeze::freeze(node.driver().dir()) {
        // On the terminal, past the capture of a test that passes: nothing was checked here.
        let _ = writeln!(std::io::stderr().lock(), "SKIPPED f32_hang_that_no_signal_ends: {error}");
        return;
    }
    let frozen = Frozen(node.driver().dir());
    node.driver().add_fault(Fault::new("nvmlDeviceGet*", Effect::Freeze)).unwrap();
    plugin.readiness_says(&["nvml-stuck"]).unwrap();
    eventually("a worker hangs in the kernel", || {
        if has_child_in_state_d(plugin.pid()) { Ok(()) } else { Err("none does") }
    });
    for pod in 0..8 {
        kubelet.allocate(format!("pod-{pod}").as_str(), "main", RESOURCE, 1).await.unwrap();
        assert_eq!(plugin.admin_get("/metrics").unwrap().status, 200);
    }
    counts(&kubelet, 8, 8);
    plugin.signal(Signal::TERM).unwrap();
    assert_eq!(plugin.wait(PATIENCE).unwrap().code(), Some(0));
    node.driver().clear_faults(None).unwrap();
    drop(frozen);
    let next = start_plugin(&node, &QUICK);
    counts(&kubelet, 8, 8);
    next.ready().unwrap();
}

// Fails if the list has GPUs that are not there any more beside those that came.
#[tokio::test]
async fn f39_gpu_that_was_swapped_is_listed_by_its_new_name_alone_after_the_boot() {
    const NODE: &str = "seed: swap\ndriver: {version: 580.95.05, cuda: \"13.0\"}\ngpus:\n";
    let gpu = |uuid: u32| {
        format!(
            "  - {{model: A100-SXM4-80GB, pci: \"0000:07:00.0\", numa: 0, pcie: 0/0/0/0, uuid: GPU-00000000-0000-0000-0000-{uuid:012}}}\n"
        )
    };
    let node = bare().yaml(&format!("{NODE}{}", gpu(1))).build().unwrap();
    let kubelet = start_kubelet(&node).await;
    let plugin = start_plugin(&node, &QUICK);
    counts(&kubelet, 1, 1);
    plugin.signal(Signal::TERM).unwrap();
    plugin.wait(PATIENCE).unwrap();
    let file = node.dir().join("swapped.yaml");
    std::fs::write(&file, format!("{NODE}{}", gpu(2))).unwrap();
    std::fs::remove_dir_all(node.driver().dir()).unwrap();
    tell(&node, &["init", &format!("--file={}", file.display())]);
    node.install_driver().unwrap();
    let _plugin = start_plugin(&node, &QUICK);
    eventually("the new one alone", || {
        let found = kubelet.resources().resources.remove(RESOURCE).unwrap_or_default();
        let ids: Vec<&str> = found.devices.iter().map(|device| device.id.as_str()).collect();
        if ids == ["GPU-00000000-0000-0000-0000-000000000002"] { Ok(()) } else { Err(format!("{found:?}")) }
    });
}
