//! A show that stays up: says what to try, and waits for ctrl-c.

use std::env;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::interrupt::Interrupted;
use crate::stage::{RESOURCE, Stage};

/// How often the daemons are looked after.
const LOOK: Duration = Duration::from_millis(250);

/// Says what to try and returns at ctrl-c.
///
/// # Errors
/// When a daemon ends by itself.
pub fn until_interrupted(stage: &mut Stage) -> Result<()> {
    tell(stage)?;
    while !stage.is_interrupted_within(LOOK) {
        if let Some(disturbance) = stage.disturbance().filter(|error| !error.is::<Interrupted>()) {
            return Err(disturbance);
        }
    }
    Ok(())
}

fn tell(stage: &mut Stage) -> Result<()> {
    let node = stage.node.root().parent().unwrap_or(Path::new("/")).display().to_string();
    let address = stage.plugin()?.admin_address()?;
    let log = stage.plugin()?.log_file().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let programs = program_dir();
    let kubelet = format!("{programs}fake-kubelet ctl --dir $D");
    let tries = [
        ("Two names for what follows", format!("N={node}; D=$N/kubelet/device-plugins")),
        ("Who has which GPU", format!("{kubelet} state")),
        ("A pod ends, another one comes", format!("{kubelet} release --pod serve")),
        ("", format!("{kubelet} allocate --pod mine --resource {RESOURCE}")),
        ("What the driver knows; one more sick GPU", format!("{programs}nvml-sim show $N/driver")),
        ("", format!("{programs}nvml-sim --dir $N/driver xid --gpu 2 48")),
        ("What the plugin says of itself", format!("curl -s http://{address}/ready")),
        ("", format!("curl -s http://{address}/metrics")),
        ("", format!("tail -f $N/logs/{log}")),
        ("The kubelet restarts, or drops the plugin's stream", format!("{kubelet} restart")),
        ("", format!("{kubelet} drop-streams --resource {RESOURCE}")),
    ];
    stage.screen.line("")?;
    stage.screen.line("The node stays up until ctrl-c. From another terminal, in this folder:")?;
    for (what, command) in tries {
        if !what.is_empty() {
            stage.screen.line("")?;
            stage.screen.line(&format!("  # {what}"))?;
        }
        stage.screen.line(&format!("  {command}"))?;
    }
    Ok(())
}

/// The folder of the programs with a slash, relative where it lies below the current one.
fn program_dir() -> String {
    let program = env::current_exe().unwrap_or_default();
    let dir = program.parent().unwrap_or(Path::new(""));
    let here = env::current_dir().unwrap_or_default();
    format!("{}/", dir.strip_prefix(&here).unwrap_or(dir).display())
}
