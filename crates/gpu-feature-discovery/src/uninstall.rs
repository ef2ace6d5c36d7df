//! The subcommand `uninstall`: exactly what this program put somewhere goes.

use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use node_api::{remove_labels, remove_node_feature};

use crate::config::{NodeFeatureOutput, Outputs};
use crate::outputs::cluster;

/// Does it, and gives the exit code.
pub async fn run(outputs: &Outputs) -> ExitCode {
    match remove(outputs).await {
        Ok(told) => match daemon::stdout::write(told.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => daemon::fail(&error),
        },
        Err(error) => daemon::fail(&*error.into_boxed_dyn_error()),
    }
}

async fn remove(outputs: &Outputs) -> anyhow::Result<String> {
    let mut told = String::new();
    if let Some(path) = &outputs.file {
        match std::fs::remove_file(path.as_path()) {
            Ok(()) => writeln!(told, "removed {path}")?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => writeln!(told, "there is no {path}")?,
            Err(error) => return Err(anyhow::Error::new(error).context(format!("cannot remove {path}"))),
        }
    }
    let Some(settings) = &outputs.cluster else { return Ok(told) };
    let api = cluster::connect(settings);
    if settings.node {
        let removed = remove_labels(&api, &settings.node_name, cluster::MANAGER).await?;
        for field in &removed.gone {
            writeln!(told, "removed {field}")?;
        }
        for field in &removed.left_to_others {
            writeln!(told, "left {field}: another field manager holds it too")?;
        }
        if removed.gone.is_empty() && removed.left_to_others.is_empty() {
            writeln!(told, "nothing of {} is on the Node {}", cluster::MANAGER, settings.node_name)?;
        }
    }
    if let Some(NodeFeatureOutput { namespace, name, .. }) = &settings.node_feature {
        let was_there = remove_node_feature(&api, namespace, name).await?;
        let done = if was_there { "removed" } else { "there is no" };
        writeln!(told, "{done} NodeFeature {namespace}/{name}")?;
    }
    Ok(told)
}
