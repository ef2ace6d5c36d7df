//! The search for a driver that lists a GPU, at the start.

use std::pin::pin;

use gpu_model::Inventory;
use nvml::{NvmlError, RoleState};
use tokio::time::sleep;

use daemon::files::{self, told_when_stuck};

use super::leasing::Remembered;
use super::silence::code_of;
use super::{Observer, ObserverEnded, SEARCH, nameless};

/// Code of a driver that works and has nothing to offer.
const NO_GPU: &str = "no-gpu";

impl Observer {
    /// Waits for a driver that lists a GPU.
    ///
    /// # Errors
    /// When there is none to wait for, and when a thread has died.
    pub(super) async fn first_inventory(&self) -> Result<Inventory, ObserverEnded> {
        let mut last = String::new();
        loop {
            let remembered = self.leave_leased_alone().await?;
            let remembered = match remembered {
                Some(remembered) if remembered.is_all_leased() => return Ok(remembered.inventory()),
                remembered => remembered,
            };
            let driver = self.driver.clone();
            let search = self.files.run(move || driver.find().map(drop));
            let found = told_when_stuck(search, files::PATIENCE, &self.components.driver).await?;
            let (code, reason) = match found {
                Err(reason) => ("no-driver", reason),
                Ok(()) => match self.inventory_with(remembered).await {
                    Ok(inventory) if inventory.gpus.is_empty() => (NO_GPU, no_gpu(&inventory)),
                    Ok(inventory) => return Ok(inventory),
                    Err(NvmlError::Lost) => return Err(ObserverEnded::Nvml),
                    Err(error) => (code_of(&error), daemon::error_chain(&error).to_string()),
                },
            };
            self.components.driver.not_ready(code, &reason);
            // A driver that lists no GPU works.
            if self.fails_without_driver && code != NO_GPU {
                return Err(ObserverEnded::NoDriver { reason });
            }
            if last != reason {
                tracing::warn!(code, reason, "no GPU can be offered yet");
                last = reason;
            }
            sleep(SEARCH).await;
        }
    }

    /// Asks for the inventory, and completes it by what is left alone.
    async fn inventory_with(&self, remembered: Option<Remembered>) -> Result<Inventory, NvmlError> {
        let mut inventory = self.inventory().await?;
        if let Some(remembered) = remembered {
            remembered.complete(&mut inventory);
        }
        Ok(inventory)
    }

    /// Asks for the inventory, and tells meanwhile what the driver is at: its first start may take minutes.
    async fn inventory(&self) -> Result<Inventory, NvmlError> {
        let mut status = self.nvml.status();
        let mut answer = pin!(self.nvml.inventory());
        loop {
            tokio::select! {
                answer = &mut answer => return answer,
                Ok(()) = status.changed() => {
                    if let Some(trouble) = slow(&status.borrow_and_update()) {
                        self.components.driver.not_ready("nvml-slow", trouble);
                    }
                }
            }
        }
    }
}

/// What the question waits for while it is in a slow call. Why a question fails, its own answer tells.
fn slow(status: &nvml::Status) -> Option<String> {
    let state = &status.queries.state;
    let is_slow = matches!(state, RoleState::Slow { .. });
    state.trouble().filter(|_| is_slow).map(|trouble| format!("the NVML worker for queries: {trouble}"))
}

fn no_gpu(inventory: &Inventory) -> String {
    match inventory.failures.as_slice() {
        [] => "the driver lists no GPU".to_owned(),
        failures => nameless(failures),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn only_a_slow_call_of_the_queries_is_told_as_slow() {
        let now = Instant::now();
        let told = |queries: RoleState, events: RoleState| {
            let role = |state| nvml::RoleStatus { state, ..nvml::RoleStatus::default() };
            slow(&nvml::Status { queries: role(queries), events: role(events) })
        };
        let hangs = RoleState::Slow { pid: 1, call: "nvmlInit_v2".into(), since: now };
        let pauses = RoleState::BackingOff { until: now, reason: "it died".into() };
        assert_eq!(
            told(hangs.clone(), RoleState::Absent).as_deref(),
            Some("the NVML worker for queries: in nvmlInit_v2 for more than a second")
        );
        assert_eq!(told(pauses, RoleState::Absent), None);
        assert_eq!(told(RoleState::Full, RoleState::Absent), None);
        assert_eq!(told(RoleState::Running { pid: 1 }, hangs), None);
    }
}
