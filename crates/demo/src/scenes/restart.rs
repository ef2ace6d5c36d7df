//! The kubelet restarts: it removes every socket, and the plugin registers again, asking NVML nothing.

use std::time::Duration;

use anyhow::Result;
use fake_kubelet::{Event, Happening, State};

use crate::stage::{RESOURCE, Stage};
use crate::wording::span;

/// Plays the scene.
pub fn play(stage: &mut Stage) -> Result<()> {
    let allocatable = stage.gpus.count() - 1;
    let before = stage.kubelet_state()?;
    stage.act("the kubelet is killed and started again")?;
    stage.node.kubelet().restart()?;
    stage.allocatable(allocatable)?;

    let began = stage.event("started", 0, |event| matches!(event, Event::Started { .. }))?.unix_nanos;
    let registered = stage.event("registered", began, |event| matches!(event, Event::Registered { .. }))?;
    let listed = stage.event("listed", began, |event| matches!(event, Event::Listed { .. }))?;
    let since = |happening: &Happening| span(Duration::from_nanos(happening.unix_nanos - began));
    let text = format!(
        "{RESOURCE} registered {} after kubelet.sock came, its list received after {}",
        since(&registered),
        since(&listed)
    );
    stage.screen.fact("kubelet", &text)?;
    stage.show_strip()?;
    let after = stage.kubelet_state()?;
    let is_refused = |happening: &Happening| matches!(happening.event, Event::RegistrationRefused { .. });
    stage.expect(
        !stage.node.kubelet().events()?.iter().any(is_refused) && unhealthy(&after) == unhealthy(&before),
        "registered again by itself; the sick GPU stays sick",
    )?;
    stage.expect(!after.pods.is_empty() && before.pods == after.pods, "running pods kept their GPUs")
}

/// Ids of the devices that the plugin calls unhealthy.
fn unhealthy(state: &State) -> Vec<&str> {
    let devices = state.resources.get(RESOURCE).into_iter().flat_map(|resource| &resource.devices);
    devices.filter(|device| device.reported != "Healthy").map(|device| device.id.as_str()).collect()
}
