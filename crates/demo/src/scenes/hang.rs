//! NVML calls that never come back: the plugin says so, replaces its worker, and goes on answering the kubelet.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fake_kubelet::PodRequest;
use nvml_sim::{Effect, Fault};

use crate::stage::{RESOURCE, Stage};
use crate::wording::span;

/// What hangs: every question about a GPU.
const FUNCTIONS: &str = "nvmlDevice*";

/// Admissions while it hangs.
const ROUNDS: usize = 50;

/// Plays the scene.
pub fn play(stage: &mut Stage) -> Result<()> {
    let allocatable = stage.gpus.count() - 1;
    let workers = stage.worker_starts()?;
    stage.act("every NVML call on a GPU hangs from now on")?;
    stage.node.driver().add_fault(Fault::new(FUNCTIONS, Effect::Hang))?;
    let begin = Instant::now();
    let stuck = stage.ready_with(503, "nvml-stuck")?;
    let seen = begin.elapsed();
    let detail = stuck.json().ok().and_then(|body| {
        let component =
            body["not_ready"].as_array()?.iter().find(|entry| entry["code"] == "nvml-stuck")?.clone();
        Some(component["detail"].as_str()?.to_owned())
    });
    let detail = detail.unwrap_or_default();
    stage.screen.fact("/ready", &format!("503 after {}: {detail}", span(seen)))?;

    stage.act(&format!("meanwhile pod late ends and comes again, {ROUNDS} times"))?;
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        stage.node.kubelet().release("late")?;
        let admitted = stage.node.kubelet().allocate(PodRequest::new("late", "main", RESOURCE, 1))?;
        took.extend(admitted.allocate_took);
    }
    let is_still_stuck = stage.ready()?.status == 503;
    took.sort_unstable();
    let median: Duration = *took.get(took.len() / 2).context("Allocate was never called")?;
    let slowest = took.last().copied().unwrap_or_default();
    stage.screen.fact("Allocate", &format!("median {}, slowest {}", span(median), span(slowest)))?;
    let resource = stage.resource().map_err(anyhow::Error::msg)?;
    stage.expect(
        took.len() == ROUNDS && is_still_stuck,
        &format!("{ROUNDS} of {ROUNDS} admitted from memory, while NVML hung"),
    )?;
    stage.expect(
        resource.allocatable == allocatable,
        &format!("still {allocatable} allocatable: silence of the driver is no verdict yet"),
    )?;

    stage.act("the driver comes back")?;
    stage.node.driver().clear_faults(Some(FUNCTIONS))?;
    stage.ready_with(200, "true")?;
    let line = stage.log_line(&["NVML answers again"])?;
    stage.screen.quote("its log", &line)?;
    let is_alive = stage.plugin()?.ended()?.is_none();
    stage.expect(
        stage.worker_starts()? > workers && is_alive,
        "a new worker asks NVML; the plugin's own process was never in danger",
    )
}
