//! From the ledger to the state: the device list that follows from what is known, and who is told of it.

use std::time::Instant;

use gpu_model::{Gpu, Health};

use super::Watching;
use crate::affinity::Affinity;
use crate::cdi_gate::CdiGate;
use crate::health::Transition;
use crate::report::Finding;
use crate::state::{Device, SpecState};
use crate::streams;

impl Watching {
    /// Tells the changes and publishes the device list that follows from them.
    pub(super) fn publish(&mut self, changes: &[Transition]) {
        for change in changes {
            tell(change);
            self.with.metrics.transition(change);
        }
        let spec = self.spec_state();
        let now = Instant::now();
        self.obstacle.note(obstacle_of(&spec, &self.with.cdi.borrow()), now);
        let mut devices: Vec<Device> = self.known.iter().filter_map(|gpu| self.device(gpu, now)).collect();
        let fits = streams::check_list(&devices);
        if fits.is_err() {
            // What the kubelet has already fitted; newcomers stand behind.
            devices.truncate(self.with.publisher.current().devices.len());
        }
        self.with.publisher.publish(|state| {
            if state.devices.len() != devices.len() {
                // Positions no longer match; preferences are empty until the topology is asked again.
                state.affinity = Affinity::default();
            }
            state.devices = devices;
            state.spec = spec;
        });
        let state = self.with.publisher.current();
        self.with.metrics.state(&state);
        match fits {
            Ok(()) => tell_devices(&self.with.components.devices, &state.devices),
            Err(too_large) => self.with.components.devices.not_ready("list-too-large", too_large.to_string()),
        }
        let (inventory, devices) = (&self.inventory, &state.devices);
        self.with.findings.send_if_modified(|last| {
            let is_news =
                last.as_ref().is_none_or(|last| last.inventory != *inventory || last.devices != *devices);
            if is_news {
                *last = Some(Finding { inventory: inventory.clone(), devices: devices.clone() });
            }
            is_news
        });
    }

    fn device(&self, gpu: &Gpu, now: Instant) -> Option<Device> {
        let own = self.lacking.get(&gpu.uuid).map(String::as_str);
        Some(Device {
            gpu: gpu.uuid.clone(),
            numa_node: gpu.numa_node.value().copied(),
            health: self.ledger.health(&gpu.uuid)?,
            lacking: own.or_else(|| self.obstacle.told(now)).map(str::to_owned),
        })
    }
}

fn tell(change: &Transition) {
    let Transition { gpu, from, to } = change;
    match (from, to) {
        (None, _) => tracing::info!(%gpu, health = %to, "GPU found"),
        (Some(from), Health::Healthy) => tracing::info!(%gpu, %from, to = %to, "GPU health changed"),
        (Some(from), _) => tracing::warn!(%gpu, %from, to = %to, "GPU health changed"),
    }
}

/// One sick GPU does not make the plugin unready; it is told all the same.
fn tell_devices(component: &daemon::Component, devices: &[Device]) {
    let sick: Vec<String> = devices.iter().filter_map(Device::complaint).collect();
    if sick.is_empty() {
        component.ready();
    } else {
        component.ready_but(sick.join("; "));
    }
}

/// Why no device can be handed out, if that is so. Before the first spec nothing is registered, and nobody asks.
fn obstacle_of(spec: &SpecState, cdi: &CdiGate) -> Option<String> {
    match (spec, cdi) {
        (_, CdiGate::Revoked { reason }) => Some(format!("CDI is not proven any more: {reason}")),
        (SpecState::Stale { reason }, _) => Some(format!("the CDI spec cannot be used: {reason}")),
        _ => None,
    }
}
