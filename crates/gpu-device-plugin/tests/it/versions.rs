//! Updates of the plugin, and updates that are taken back: what one version finds of another's files.

use std::fs;
use std::path::{Path, PathBuf};

use nvml_sim::FaultEntry;
use serde_json::Value;
use sim_node::{Process, Signal, SimNode};

use crate::harness::{
    PATIENCE, QUICK, RESOURCE, counts, eventually, gpus, plugin_sockets, serving, start_plugin,
};
use crate::health_kept::ada;

/// The files that a plugin finds at its start: what it kept of health and of what pods hold, and its last report.
fn files(node: &SimNode) -> [PathBuf; 3] {
    let kept = node.state_dir().join("device-plugin");
    [kept.join("health.json"), kept.join("held.json"), node.run_dir().join("device-plugin/inventory.json")]
}

fn edit(path: &Path, change: impl Fn(&mut Value)) {
    let mut document = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut document);
    fs::write(path, document.to_string()).unwrap();
}

/// What a later version might say more, everywhere.
fn add_fields(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let is_named = fields.keys().all(|key| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
            fields.values_mut().for_each(add_fields);
            // Not where the keys are ids, which would be entries, and not in values of the languages' own, such as times.
            if is_named && fields.len() > 2 {
                fields.insert("of_a_later_version".to_owned(), serde_json::json!({"depth": [1, 2]}));
            }
        }
        Value::Array(values) => values.iter_mut().for_each(add_fields),
        _ => {}
    }
}

fn kill(plugin: Process, node: &SimNode) {
    plugin.signal(Signal::KILL).unwrap();
    plugin.wait(PATIENCE).unwrap();
    assert_eq!(plugin_sockets(node).len(), 1);
}

// Fails if `HealthFile::read` or `HeldFile::read` are strict, and if the files that are refused are not set aside.
#[tokio::test]
async fn f13_files_of_another_version_are_read_or_set_aside_and_no_sick_gpu_is_laundered() {
    let (node, kubelet, plugin) = serving().await;
    plugin.says("watching 8 of 8 GPUs").unwrap();
    let held = kubelet.allocate("held", "main", RESOURCE, 2).await.unwrap().devices;
    let sick = gpus(&node).into_iter().position(|gpu| !held.contains(&gpu)).unwrap();
    let xid = FaultEntry {
        xid: Some(95),
        no_recovery_action: true,
        gpu: Some(sick.to_string()),
        ..FaultEntry::default()
    };
    node.driver().declare(xid).unwrap();
    counts(&kubelet, 8, 7);
    eventually("it is kept", || {
        let texts = files(&node).map(|file| fs::read_to_string(file).unwrap_or_default());
        let is_kept =
            texts[0].contains("\"xid\"") && texts[1].contains(&held[0]) && texts[2].contains("\"xid\"");
        if is_kept { Ok(()) } else { Err(texts.join("\n")) }
    });
    kill(plugin, &node);

    // A later version had more to say.
    files(&node).iter().for_each(|file| edit(file, add_fields));
    let plugin = start_plugin(&node, &QUICK);
    plugin.ready_and_says(&[&format!("{} is Unhealthy(xid-95)", gpus(&node)[sick])]).unwrap();
    counts(&kubelet, 8, 7);
    assert!(!plugin.log().contains("cannot be used"), "{}", plugin.log());
    assert!(!plugin.log().contains("is not known until"), "{}", plugin.log());
    kill(plugin, &node);

    // Files of another form, older and newer: nothing of them is lost, and the plugin begins afresh.
    for schema in [0, 2] {
        let mut texts = Vec::new();
        for file in &files(&node)[..2] {
            edit(file, |document| document["schema_version"] = schema.into());
            texts.push(fs::read_to_string(file).unwrap());
        }
        let plugin = start_plugin(&node, &QUICK);
        counts(&kubelet, 8, 8);
        plugin.ready().unwrap();
        plugin.says(&format!("health.json: schema_version is {schema}, expected 1")).unwrap();
        plugin.says(&format!("held.json: schema_version is {schema}, expected 1")).unwrap();
        for (file, text) in files(&node).iter().zip(&texts) {
            let aside = format!("{}.refused", file.display());
            assert_eq!(fs::read_to_string(aside).unwrap(), *text);
        }
        eventually("both are written anew", || {
            files(&node).iter().try_for_each(|file| file.metadata().map(drop))
        });
        kill(plugin, &node);
    }
    assert_eq!(kubelet.resources().pods[0].holdings[0].devices, held);
}

// Fails if `HealthFile::read` or `HeldFile::read` give up at the first part that they cannot read, and where a GPU whose record is lost
// counts as well.
#[tokio::test]
async fn f13_record_that_only_a_later_version_can_read_costs_its_gpu_alone_and_no_fence() {
    let (node, kubelet, plugin) = serving().await;
    plugin.says("watching 8 of 8 GPUs").unwrap();
    let held = kubelet.allocate("held", "main", RESOURCE, 1).await.unwrap().devices.remove(0);
    let free: Vec<String> = gpus(&node).into_iter().filter(|gpu| *gpu != held).collect();
    let [fenced, rewritten, sick, melted, lost] = [0, 1, 2, 3, 4].map(|n: usize| free[n].as_str());
    for gpu in [fenced, rewritten] {
        assert_eq!(ada(&node, &["fence", gpu]).0, Some(0));
    }
    for gpu in [sick, melted] {
        let index = gpus(&node).iter().position(|listed| listed == gpu).unwrap();
        let (xid, gpu) = (Some(95), Some(index.to_string()));
        let fault = FaultEntry { xid, no_recovery_action: true, gpu, ..FaultEntry::default() };
        node.driver().declare(fault).unwrap();
    }
    counts(&kubelet, 8, 4);
    let [kept, holders, _] = files(&node);
    eventually("it is kept", || {
        let texts = [&kept, &holders].map(|file| fs::read_to_string(file).unwrap_or_default());
        let is_kept = texts[0].matches("\"xid\": 95").count() == 2 && texts[1].contains(&held);
        if is_kept { Ok(()) } else { Err(texts.join("\n")) }
    });
    kill(plugin, &node);

    edit(&kept, |document| {
        let gpus = &mut document["ledger"]["gpus"];
        gpus[rewritten]["own"]["fence"] = serde_json::json!({"by": {"name": "ada"}});
        gpus[melted]["own"]["findings"][0]["reason"] = serde_json::json!({"code": "melted", "at": 900});
        gpus[lost]["own"]["findings"] = serde_json::json!([{"reason": {"code": "lost"}, "ends": "cooled"}]);
    });
    edit(&holders, |document| document["held"]["of two lines"] = serde_json::json!([lost]));
    let plugin = start_plugin(&node, &QUICK);
    let is_sick = |gpu: &str, why: &str| format!("{gpu} is Unhealthy({why})");
    plugin.ready_and_says(&[&is_sick(fenced, "fenced"), &is_sick(rewritten, "fenced")]).unwrap();
    plugin.ready_and_says(&[&is_sick(sick, "xid-95"), &is_sick(melted, "melted")]).unwrap();
    plugin.ready_and_says(&[&is_sick(lost, "record-unreadable")]).unwrap();
    counts(&kubelet, 8, 3);
    plugin.says(&format!("ledger.gpus.{lost}.own.findings[0].ends is \\\"cooled\\\"")).unwrap();
    plugin.says("held.of two lines is ").unwrap();
    assert!(kept.exists() && !kept.with_extension("json.refused").exists());

    for gpu in [lost, rewritten] {
        assert_eq!(ada(&node, &["clear", gpu]).0, Some(0));
    }
    counts(&kubelet, 8, 5);
}
