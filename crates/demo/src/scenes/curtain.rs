//! The plugin is told to end, as at an upgrade, and leaves in order.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Result;
use sim_node::Signal;

use crate::stage::Stage;
use crate::wording::span;

/// Longer than the plugin's own drain deadline.
const PATIENCE: Duration = Duration::from_secs(20);

/// Plays the scene.
pub fn play(stage: &mut Stage) -> Result<()> {
    stage.act("the plugin gets SIGTERM")?;
    let begin = Instant::now();
    let plugin = stage.dismiss_plugin()?;
    plugin.signal(Signal::TERM)?;
    let status = plugin.wait(PATIENCE)?;
    stage.screen.fact("plugin", &format!("{status} after {}", span(begin.elapsed())))?;
    stage.allocatable(0)?;
    let mut left = Vec::new();
    for entry in fs::read_dir(stage.node.plugin_dir())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".sock") && name != "kubelet.sock" {
            left.push(name);
        }
    }
    stage.expect(
        status.success() && left.is_empty(),
        "it ended with 0, took its socket along, and nothing is allocatable",
    )
}
