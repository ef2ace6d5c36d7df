//! XID 79 on one GPU: exactly that one becomes unhealthy, with its reason, and the node goes on.

use std::time::SystemTime;

use anyhow::{Context, Result};
use fake_kubelet::{Event, PodRequest};
use nvml_sim::{FaultEntry, XID_OFF_THE_BUS};

use crate::stage::{RESOURCE, Stage, after};
use crate::wording::span;

/// Plays the scene.
pub fn play(stage: &mut Stage) -> Result<()> {
    let count = stage.gpus.count();
    let index = *stage.free()?.last().context("no GPU is free")?;
    let gpu = stage.gpus.node().gpus.get(index).context("no such GPU")?.uuid.clone();
    stage.act(&format!("the driver reports XID {XID_OFF_THE_BUS} on GPU {index}, which nobody holds"))?;
    let name = index.to_string();
    // An XID that nobody listens for yet is lost.
    stage.log_line(&["events may have been missed"])?;
    let begin = SystemTime::now();
    // Without the recovery action that goes with it, which a probe may see first and name.
    let xid = FaultEntry {
        xid: Some(XID_OFF_THE_BUS),
        no_recovery_action: true,
        gpu: Some(name.clone()),
        ..FaultEntry::default()
    };
    stage.node.driver().declare(xid)?;
    let resource = stage.allocatable(count - 1)?;
    // From now on every call on it fails, as on a real one.
    stage.node.driver().lose(&name, None)?;

    let change = stage.log_line(&["GPU health changed", &gpu])?;
    stage.screen.quote("its log", &change)?;
    let listed = stage.event(
        "one device is unhealthy",
        0,
        |event| matches!(event, Event::Listed { healthy, .. } if *healthy == count - 1),
    )?;
    let took = span(after(begin, &listed));
    stage.screen.fact(
        "kubelet",
        &format!(
            "capacity {}, allocatable {}, {took} after the XID",
            resource.capacity, resource.allocatable
        ),
    )?;
    let ready = stage.ready_with(200, &gpu)?;
    let remark = ready
        .json()
        .ok()
        .and_then(|body| Some(body["remarks"].as_array()?.first()?["detail"].as_str()?.to_owned()));
    let remark = remark.unwrap_or_default();
    stage.screen.fact("/ready", &format!("{}, with a remark: {remark}", ready.status))?;
    stage.show_strip()?;

    let sick: Vec<&str> = resource
        .devices
        .iter()
        .filter(|device| device.reported != "Healthy")
        .map(|device| device.id.as_str())
        .collect();
    let changes = stage.log_lines(&["GPU health changed", "to=Unhealthy"])?.len();
    let reason = format!("Unhealthy(xid-{XID_OFF_THE_BUS})");
    stage.expect(
        sick == [gpu.as_str()] && changes == 1 && change.contains(&reason),
        &format!("exactly one GPU is {reason}; {} stay allocatable", count - 1),
    )?;
    stage.expect(
        ready.status == 200 && remark.contains(&gpu) && remark.contains(&reason),
        "one sick GPU leaves the plugin ready, and /ready names it",
    )?;

    stage.act("pod late asks for 1 GPU")?;
    let admitted = stage.node.kubelet().allocate(PodRequest::new("late", "main", RESOURCE, 1))?;
    let got = stage.gpus.indexes(&admitted.devices);
    stage.show_strip()?;
    stage.expect(got.len() == 1 && got != [index], "further pods are admitted, on the other GPUs")
}
