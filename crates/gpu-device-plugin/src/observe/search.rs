//! The search for a driver that lists a GPU, at the start.

use std::pin::pin;
use std::time::Instant;

use gpu_model::Inventory;
use nvml::NvmlError;
use tokio::time::sleep;

use super::{Observer, ObserverEnded, SEARCH, code_of, nameless};

impl Observer {
    /// Waits for a driver that lists a GPU.
    pub(super) async fn first_inventory(&self) -> Result<Inventory, ObserverEnded> {
        let mut last = String::new();
        loop {
            let driver = self.driver.clone();
            let found = self.files.run(move || driver.find().map(drop)).await?;
            let (code, reason) = match found {
                Err(reason) => ("no-driver", reason),
                Ok(()) => match self.inventory().await {
                    Ok(inventory) if inventory.gpus.is_empty() => ("no-gpu", no_gpu(&inventory)),
                    Ok(inventory) => return Ok(inventory),
                    Err(NvmlError::Lost) => return Err(ObserverEnded::Nvml),
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

    /// Asks for the inventory, and tells meanwhile what the driver is at: its first start may take minutes.
    async fn inventory(&self) -> Result<Inventory, NvmlError> {
        let mut status = self.nvml.status();
        let mut answer = pin!(self.nvml.inventory());
        loop {
            tokio::select! {
                answer = &mut answer => return answer,
                Ok(()) = status.changed() => {
                    if let Some(trouble) = status.borrow_and_update().trouble(Instant::now()) {
                        self.components.driver.not_ready("nvml-slow", trouble);
                    }
                }
            }
        }
    }
}

fn no_gpu(inventory: &Inventory) -> String {
    match inventory.failures.as_slice() {
        [] => "the driver lists no GPU".to_owned(),
        failures => nameless(failures),
    }
}
