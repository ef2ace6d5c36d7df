//! The subcommand `explain`: what a config would do on this node, or on the one of an inventory. It changes nothing.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use config_file::text;
use daemon::stdout;
use gpu_model::Inventory;

use crate::args::Output;
use crate::config::Config;
use crate::devices;
use crate::explanation::explain;

/// Stands for the node that the program is on.
pub const LIVE: &str = "live";

/// Exit code of a config that would not be taken over, as of bad usage.
const REFUSED: u8 = 2;

/// Explains on standard output what the config file would do.
pub async fn run(config: &Config, node: &str, output: Output) -> ExitCode {
    match try_run(config, node, output).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(REFUSED),
        Err(error) => daemon::fail(error.as_ref()),
    }
}

async fn try_run(config: &Config, node: &str, output: Output) -> anyhow::Result<bool> {
    let (name, text) = match &config.config_file {
        Some(file) => (file.path.display().to_string(), text::of_file(&file.path)?),
        None => ("no config file".to_owned(), String::new()),
    };
    let inventory: Inventory = if node == LIVE {
        devices::inventory(config).await?
    } else {
        let text = std::fs::read_to_string(Path::new(node)).with_context(|| node.to_owned())?;
        let hint = || format!("{node} is no inventory, such as `devices --output json` prints");
        serde_json::from_str(&text).with_context(hint)?
    };
    let explanation = explain(&name, &text, &config.offering, &inventory);
    let told = match output {
        Output::Table => explanation.words(),
        Output::Json => serde_json::to_string_pretty(&explanation)? + "\n",
    };
    stdout::write(told.as_bytes())?;
    Ok(explanation.refused.is_none())
}
