//! The plugin finds driver and kubelet, proves CDI, registers, and the kubelet has its list.

use anyhow::{Context, Result};
use fake_kubelet::Event;

use crate::screen::Tone;
use crate::stage::{RESOURCE, Stage, after};
use crate::wording::span;

/// Plays the scene.
pub fn play(stage: &mut Stage) -> Result<()> {
    let count = stage.gpus.count();
    let resource = stage.allocatable(count)?;
    let listed = stage.event("all devices are listed", 0, |event| {
        matches!(event, Event::Listed { resource, devices, healthy }
            if resource == RESOURCE && *devices == count && *healthy == count)
    })?;
    let endpoint = resource.endpoints.first().context("no endpoint is connected")?;
    stage.screen.fact("socket", endpoint)?;
    let took = span(after(stage.plugin_started(), &listed));
    stage.screen.fact("kubelet", &format!("has the device list {took} after the plugin's start"))?;

    let proof = stage.log_line(&["CDI is proven"])?;
    stage.screen.quote("its log", &proof)?;
    let registered = stage.log_line(&["registered; the kubelet has the device list"])?;
    stage.screen.quote("", &registered)?;

    let rows: Vec<(Vec<String>, Tone)> = stage
        .gpus
        .node()
        .gpus
        .iter()
        .filter_map(|gpu| {
            let device = resource.devices.iter().find(|device| device.id == gpu.uuid)?;
            let numa: Vec<String> = device.numa.iter().map(ToString::to_string).collect();
            let cells =
                vec![gpu.index.to_string(), device.id.clone(), device.reported.clone(), numa.join(",")];
            Some((cells, Tone::Plain))
        })
        .collect();
    let shown = rows.len();
    stage.screen.table(&["GPU", "DEVICE ID", "HEALTH", "NUMA NODE"], &rows)?;
    stage.expect(shown == count, &format!("{RESOURCE}: {count} devices listed, {count} healthy"))?;
    let numa_agrees = stage.gpus.node().gpus.iter().all(|gpu| {
        let device = resource.devices.iter().find(|device| device.id == gpu.uuid);
        device.is_some_and(|device| device.numa == gpu.numa.map(i64::from).into_iter().collect::<Vec<_>>())
    });
    stage.expect(numa_agrees, "each device's NUMA node is that of its GPU")?;
    let ready = stage.ready_with(200, "\"ready\": true")?.json()?;
    let is_all_there = ready["not_ready"].as_array().is_some_and(Vec::is_empty);
    stage.expect(is_all_there, "/ready answers 200: driver, CDI and kubelet are all there")
}
