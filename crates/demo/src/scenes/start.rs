//! Says what stands on the stage, and starts the plugin.

use anyhow::{Context, Result};

use crate::stage::Stage;

/// Flags that make the show short: a real node probes each 15 s and gives a call 5 s.
const QUICK: [&str; 2] = ["--probe-interval=1s", "--nvml-call-timeout=2s"];

/// Plays the scene.
pub fn play(stage: &mut Stage) -> Result<()> {
    let node = stage.gpus.node();
    let model = node.gpus.first().context("the node has no GPU")?.model.name.clone();
    let driver = format!(
        "simulated {}: libnvidia-ml.so.1 with {} {}",
        node.driver_version,
        stage.gpus.count(),
        model.trim_start_matches("NVIDIA ")
    );
    stage.screen.fact("driver", &driver)?;
    if let Some(runtime) = stage.node.runtime() {
        let answer = runtime.answer();
        let text = format!("simulated: answers like {} {} with CDI switched on", answer.name, answer.version);
        stage.screen.fact("runtime", &text)?;
    }
    if let Some(kubelet) = stage.node.kubelet_process() {
        let text = format!("stand-in, pid {}: the real device manager's rules and books", kubelet.pid());
        stage.screen.fact("kubelet", &text)?;
    }
    stage.start_plugin(&QUICK)?;
    let pid = stage.plugin()?.pid();
    stage
        .screen
        .fact("plugin", &format!("gpu-device-plugin, pid {pid}: the program of the image, as it is"))?;
    Ok(())
}
