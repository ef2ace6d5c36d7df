//! Feature discovery says what the node's GPUs are: as labels, by which pods choose nodes.

use std::collections::BTreeMap;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use crate::screen::Tone;
use crate::stage::Stage;

/// Those that people select by, out of some thirty.
const SHOWN: [&str; 6] = [
    "nvidia.com/gpu.present",
    "nvidia.com/gpu.product",
    "nvidia.com/gpu.count",
    "nvidia.com/gpu.memory",
    "nvidia.com/gpu.family",
    "nvidia.com/cuda.driver-version.full",
];

/// Plays the scene.
pub fn play(stage: &mut Stage) -> Result<()> {
    stage.act("gpu-feature-discovery --oneshot --output stdout")?;
    let labels = ask(stage)?;
    let rows: Vec<(Vec<String>, Tone)> = SHOWN
        .iter()
        .map(|key| (vec![(*key).to_owned(), labels.get(*key).cloned().unwrap_or_default()], Tone::Plain))
        .collect();
    stage.screen.table(&["LABEL", "VALUE"], &rows)?;
    stage.screen.hint(&format!(
        "and {} more; in a cluster they stand on the Node",
        labels.len().saturating_sub(SHOWN.len())
    ))?;

    let node = stage.gpus.node();
    let count = labels.get("nvidia.com/gpu.count").is_some_and(|count| *count == node.gpus.len().to_string());
    let driver =
        labels.get("nvidia.com/cuda.driver-version.full").is_some_and(|full| *full == node.driver_version);
    stage.expect(count && driver, "they tell of every GPU of the node, and of its driver")
}

fn ask(stage: &Stage) -> Result<BTreeMap<String, String>> {
    let mut command = stage.node.command("gpu-feature-discovery")?;
    command.args(["--oneshot", "--output=stdout", "--format=json"]).args(stage.node.daemon_flags());
    let output = command.stdin(Stdio::null()).output().context("start gpu-feature-discovery")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "gpu-feature-discovery: {}: {said}", output.status);
    serde_json::from_slice(&output.stdout).context("read the labels")
}
