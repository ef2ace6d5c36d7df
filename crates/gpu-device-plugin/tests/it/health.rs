//! Sick GPUs and sick drivers.

use nvml_sim::{Effect, Fault, Occurrence};

use crate::harness::{
    QUICK, RESOURCE, bare, counts, eventually, first_questions_are_answered, gpus, repeats, serving,
    serving_with, start_kubelet, start_plugin,
};

// Fails if `Watching::take_xid` does not tell the ledger.
#[tokio::test]
async fn k13_f23_critical_xid_takes_exactly_its_gpu_and_the_plugin_stays_ready_and_says_so() {
    let (node, kubelet, plugin) = serving().await;
    plugin.says("watching 8 of 8 GPUs").unwrap();
    node.driver().inject_xid("3", 79, None, None).unwrap();
    counts(&kubelet, 8, 7);

    let sick = gpus(&node)[3].clone();
    let devices = kubelet.resources().resources.remove(RESOURCE).unwrap().devices;
    assert!(devices.iter().all(|device| device.healthy == (device.id != sick)), "{devices:?}");
    plugin.ready_and_says(&[&format!("{sick} is Unhealthy(xid-79)")]).unwrap();
    assert!((plugin.metric("gantry_device_plugin_devices{health=\"unhealthy\"").unwrap() - 1.0).abs() < 0.1);
    assert!(
        (plugin
            .metric("gantry_device_plugin_health_transitions_total{cause=\"xid\",reason=\"xid-79\"")
            .unwrap()
            - 1.0)
            .abs()
            < 0.1
    );
    assert!(kubelet.allocate("pod", "main", RESOURCE, 7).await.is_ok());
    eventually("the report says it too", || {
        let report =
            std::fs::read_to_string(node.run_dir().join("device-plugin/inventory.json")).unwrap_or_default();
        let read: serde_json::Value = serde_json::from_str(&report).unwrap_or_default();
        let numa: Vec<_> = read["inventory"]["gpus"].as_array().map_or_else(Vec::new, |gpus| {
            gpus.iter().filter_map(|gpu| gpu["numa_node"]["value"].as_u64()).collect()
        });
        let has_numa = numa.len() == 8 && numa.iter().any(|node| *node > 0);
        let record = &read["health"][&sick];
        let says_so = record["health"]["state"] == "unhealthy" && record["cause"] == "xid";
        if says_so && has_numa { Ok(()) } else { Err(report) }
    });
}

// Fails if the table calls XID 13 critical.
#[tokio::test]
async fn f25_storm_of_xids_of_applications_takes_nothing() {
    let (node, kubelet, plugin) = serving().await;
    plugin.says("watching 8 of 8 GPUs").unwrap();
    for xid in [31, 43, 94] {
        node.driver().inject_xid("3", xid, None, None).unwrap();
    }
    for _ in 0..repeats(50, 2_000) {
        node.driver().inject_xid("2", 13, None, None).unwrap();
    }
    // Those of one GPU that wait unread at once are told as one.
    eventually("they are counted", || {
        let counted = |xid: u64| {
            plugin
                .metric(&format!("gantry_device_plugin_xids_total{{class=\"application\",xid=\"{xid}\""))
                .unwrap()
        };
        if counted(13) >= 1.0 && counted(94) >= 1.0 { Ok(()) } else { Err(counted(13).to_string()) }
    });
    counts(&kubelet, 8, 8);
    assert!(kubelet.allocate("pod", "main", RESOURCE, 8).await.is_ok());
}

// Fails if evidence.rs passes over a probe that says lost.
#[tokio::test]
async fn k08_f23_lost_gpu_is_found_by_the_probe_and_pods_get_the_others() {
    let (node, kubelet, plugin) = serving().await;
    node.driver().lose("5", None).unwrap();
    counts(&kubelet, 8, 7);
    plugin.ready_and_says(&["Unhealthy(gpu-lost)"]).unwrap();
    let sick = gpus(&node)[5].clone();
    for pod in 0..repeats(50, 1_000) {
        let pod = format!("pod-{pod}");
        let allocation = kubelet.allocate(pod.as_str(), "main", RESOURCE, 7).await.unwrap();
        assert!(!allocation.devices.contains(&sick));
        kubelet.release(pod.as_str());
    }
}

#[tokio::test]
async fn plugin_that_starts_with_a_lost_gpu_offers_the_other_seven() {
    let node = bare().build().unwrap();
    node.driver().lose("0", None).unwrap();
    let kubelet = start_kubelet(&node).await;
    let plugin = start_plugin(&node, &QUICK);
    counts(&kubelet, 7, 7);
    plugin.ready().unwrap();
    assert!(kubelet.allocate("pod", "main", RESOURCE, 7).await.is_ok());
}

// Fails if the worker's calls have no deadline.
#[tokio::test]
async fn k07_f31_hang_of_the_driver_leaves_allocate_answering_and_the_list_as_it_was() {
    let (node, kubelet, plugin) =
        serving_with(&["--cdi-proof=assume", "--probe-interval=1s", "--nvml-call-timeout=300ms"]).await;
    node.driver().add_fault(Fault::new("nvmlDeviceGet*", Effect::Hang)).unwrap();
    plugin.readiness_says(&["\"nvml-stuck\"", "nvmlDeviceGet"]).unwrap();
    assert!(kubelet.allocate("pod", "main", RESOURCE, 8).await.is_ok());
    counts(&kubelet, 8, 8);
    eventually("every GPU is unknown", || {
        let count = plugin.metric("gantry_device_plugin_devices{health=\"unknown\"").unwrap();
        if count > 7.9 { Ok(()) } else { Err(count.to_string()) }
    });

    node.driver().clear_faults(None).unwrap();
    plugin.ready().unwrap();
    eventually("every GPU is healthy again", || {
        let count = plugin.metric("gantry_device_plugin_devices{health=\"healthy\"").unwrap();
        if count > 7.9 { Ok(()) } else { Err(count.to_string()) }
    });
}

#[tokio::test]
async fn driver_that_answers_again_is_heard_long_before_the_next_probe() {
    let flags = ["--cdi-proof=assume", "--probe-interval=1h", "--nvml-call-timeout=300ms"];
    let (node, kubelet, plugin) = serving_with(&flags).await;
    first_questions_are_answered(&plugin);
    // The queries ask it each time, the worker for events only at its start.
    let hang = Fault::new("nvmlDeviceGetCount_v2", Effect::Hang);
    node.driver().add_fault(hang).unwrap();
    // An XID of an application harms nothing, and has every GPU probed.
    node.driver().inject_xid("2", 13, None, None).unwrap();
    plugin.readiness_says(&["\"nvml-stuck\"", "nvmlDeviceGetCount_v2"]).unwrap();
    node.driver().clear_faults(None).unwrap();
    plugin.says("NVML answers again").unwrap();
    plugin.ready().unwrap();
    counts(&kubelet, 8, 8);
}

#[tokio::test]
async fn hang_of_one_gpu_is_told_of_it_alone_and_the_others_are_watched() {
    let (node, kubelet, plugin) =
        serving_with(&["--cdi-proof=assume", "--probe-interval=1s", "--nvml-call-timeout=300ms"]).await;
    plugin.says("watching 8 of 8 GPUs").unwrap();
    let hang = Fault { gpu: Some("3".into()), ..Fault::new("nvmlDeviceGet*", Effect::Hang) };
    node.driver().add_fault(hang).unwrap();
    let stuck = format!("{} is Unknown(nvml-stuck)", gpus(&node)[3]);
    plugin.ready_and_says(&[&stuck]).unwrap();
    node.driver().lose("5", None).unwrap();
    plugin.ready_and_says(&[&stuck, "Unhealthy(gpu-lost)"]).unwrap();
    counts(&kubelet, 8, 7);

    node.driver().clear_faults(None).unwrap();
    eventually("all but the lost one are healthy", || {
        let count = plugin.metric("gantry_device_plugin_devices{health=\"healthy\"").unwrap();
        if count > 6.9 { Ok(()) } else { Err(count.to_string()) }
    });
}

#[tokio::test]
async fn gpu_that_hangs_from_the_start_is_named_and_the_other_seven_are_offered() {
    let node = bare().build().unwrap();
    let hang = Fault { gpu: Some("3".into()), ..Fault::new("nvmlDeviceGetUUID", Effect::Hang) };
    node.driver().add_fault(hang).unwrap();
    let kubelet = start_kubelet(&node).await;
    let flags = ["--cdi-proof=assume", "--probe-interval=1s", "--nvml-call-timeout=300ms"];
    let plugin = start_plugin(&node, &flags);
    counts(&kubelet, 7, 7);
    plugin.ready_and_says(&["GPU 3: nvmlDeviceGetUUID = no-return"]).unwrap();
    node.driver().clear_faults(None).unwrap();
    counts(&kubelet, 8, 8);
}

// Fails if the search for the driver does not tell what it waits for.
#[tokio::test]
async fn f30_driver_that_hangs_at_its_start_is_named_and_waited_for() {
    let node = bare().build().unwrap();
    let hang = Fault { ..Fault::new("nvmlInit_v2", Effect::Hang) };
    node.driver().add_fault(hang).unwrap();
    let kubelet = start_kubelet(&node).await;
    let plugin = start_plugin(&node, &QUICK);
    plugin.readiness_says(&["\"nvml-slow\"", "nvmlInit_v2"]).unwrap();
    node.driver().clear_faults(None).unwrap();
    counts(&kubelet, 8, 8);
}

// Fails if the worker is not started anew.
#[tokio::test]
async fn f33_crash_of_the_driver_library_costs_no_device() {
    let (node, kubelet, plugin) = serving().await;
    // Once events are watched, only probes make this call.
    plugin.says("watching 8 of 8 GPUs").unwrap();
    let crash = Fault { occurrence: Occurrence::Times(1), ..Fault::new("nvmlDeviceGetUUID", Effect::Crash) };
    node.driver().add_fault(crash).unwrap();
    eventually("a new worker runs", || {
        let starts =
            plugin.metric("gantry_device_plugin_nvml_worker_starts_total{role=\"queries\"}").unwrap();
        if starts >= 2.0 { Ok(()) } else { Err(starts.to_string()) }
    });
    plugin.ready().unwrap();
    counts(&kubelet, 8, 8);
    assert!(kubelet.allocate("pod", "main", RESOURCE, 8).await.is_ok());
}

#[tokio::test]
async fn topology_that_cannot_be_had_is_a_remark_and_harms_no_gpu() {
    let node = bare().build().unwrap();
    // Whatever GPU is left out, the call of the next one crashes too.
    let crash = Fault::new("nvmlDeviceGetTopologyCommonAncestor", Effect::Crash);
    node.driver().add_fault(crash).unwrap();
    let kubelet = start_kubelet(&node).await;
    let plugin = start_plugin(&node, &QUICK);
    counts(&kubelet, 8, 8);
    plugin.ready_and_says(&["topology unknown", "asked for again in 60s"]).unwrap();
    let metrics = plugin.admin_get("/metrics").unwrap().body;
    assert!(!metrics.contains("to=\"unknown\""), "{metrics}");
    assert!(kubelet.allocate("pod", "main", RESOURCE, 3).await.is_ok());
}
