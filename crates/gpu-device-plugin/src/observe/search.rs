//! The search for a driver that lists a GPU, at the start.

use gpu_model::Inventory;
use tokio::time::sleep;

use super::{Observer, SEARCH, code_of};
use crate::files::FilesGone;

impl Observer {
    /// Waits for a driver that lists a GPU.
    pub(super) async fn first_inventory(&self) -> Result<Inventory, FilesGone> {
        let mut last = String::new();
        loop {
            let driver = self.driver.clone();
            let found = self.files.run(move || driver.find().map(drop)).await?;
            let (code, reason) = match found {
                Err(reason) => ("no-driver", reason),
                Ok(()) => match self.nvml.inventory().await {
                    Ok(inventory) if inventory.gpus.is_empty() => ("no-gpu", no_gpu(&inventory)),
                    Ok(inventory) => return Ok(inventory),
                    Err(error) => (code_of(&error), daemon::error_chain(&error).to_string()),
                },
            };
            self.components.driver.not_ready(code, &reason);
            if last != reason {
                tracing::warn!(code, reason, "no GPU can be offered yet");
                last = reason;
            }
            sleep(SEARCH).await;
        }
    }
}

fn no_gpu(inventory: &Inventory) -> String {
    let failures: Vec<String> = inventory
        .failures
        .iter()
        .map(|failure| format!("GPU {}: {} = {}", failure.index, failure.call, failure.code))
        .collect();
    if failures.is_empty() { "the driver lists no GPU".to_owned() } else { failures.join("; ") }
}
