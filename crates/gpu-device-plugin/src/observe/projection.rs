//! From the ledger to the board: the resources that follow from what is known, and who is told of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use gpu_model::ResourceName;

use super::Watching;
use crate::cdi_gate::CdiGate;
use crate::offering::Offering;
use crate::report::{Finding, Standing};
use crate::resource_map::{Offered, Unit, resource_map};
use crate::state::{Device, Snapshot, SpecState, State};
use crate::streams::{self, ListTooLarge};

impl Watching {
    /// Takes the config that is in force over, unless the kubelet would not take what follows from it.
    pub(super) fn adopt_config(&mut self) {
        let config = self.with.config.borrow_and_update().clone();
        let Some(config) = config else { return };
        let offering = Offering::new(&self.with.flags, Some(&config));
        self.refused = resource_map(&offering, &self.known).check().err().map(|refusal| refusal.to_string());
        match &self.refused {
            None => self.offering = Some(offering),
            Some(refusal) => {
                tracing::error!(refusal, "the config is not taken over: what it offers is too much")
            }
        }
        self.publish();
    }

    /// Publishes the device lists that follow from what is known.
    pub(super) fn publish(&mut self) {
        let spec = self.spec_state();
        let now = Instant::now();
        self.obstacle.note(obstacle_of(&spec, &self.with.cdi.borrow()), now);
        let Some(offering) = &self.offering else { return self.tell_devices(&[], &[]) };
        let map = resource_map(offering, &self.known);
        if map.remarks != self.remarks {
            for remark in map.remarks.iter().filter(|remark| !self.remarks.contains(remark)) {
                tracing::warn!(remark, "not all is offered");
            }
            self.remarks = map.remarks;
        }
        let terms = offering.terms();
        let before: BTreeMap<ResourceName, Snapshot> =
            self.with.board.current().into_iter().map(|state| (state.resource.clone(), state)).collect();
        let mut too_large = Vec::new();
        let mut states = Vec::new();
        for (resource, offered) in map.resources {
            let mut devices: Vec<Device> =
                offered.into_iter().filter_map(|offered| self.device(offered, now)).collect();
            if let Err(error) = streams::check_list(&devices) {
                // What the kubelet has already fitted; newcomers stand behind.
                devices.truncate(before.get(&resource).map_or(0, |state| state.devices.len()));
                too_large.push(error);
            }
            states.push(State {
                resource,
                generation: 0,
                devices,
                affinity: Arc::clone(&self.affinity),
                spec: spec.clone(),
                terms,
            });
        }
        self.with.board.publish(states);
        let states = self.with.board.current();
        for state in &states {
            self.with.metrics.of(&state.resource).state(state);
        }
        self.tell_devices(&states, &too_large);
        self.report(now);
    }

    fn device(&self, offered: Offered, now: Instant) -> Option<Device> {
        let ledger = &self.with.health.ledger;
        let health = match offered.mig {
            Some(place) => ledger.instance_health(&offered.gpu, place.gpu_instance)?,
            None => ledger.health(&offered.gpu)?,
        };
        let own = match &offered.unit {
            Unit::Mig(part) => self.mig_lacking.get(part).cloned(),
            Unit::Gpu(_) => None,
        };
        let lacking = own.or_else(|| self.lacking(&offered.gpu, now));
        Some(Device { offered, health, lacking })
    }

    /// What stands in the way of handing the GPU out, or any part of it, although it is healthy.
    fn lacking(&self, gpu: &gpu_model::GpuUuid, now: Instant) -> Option<String> {
        let own = self.lacking.get(gpu).map(String::as_str);
        own.or_else(|| self.obstacle.told(now)).map(str::to_owned)
    }

    fn report(&self, now: Instant) {
        let records = self.with.health.ledger.records();
        let standing = |gpu: &gpu_model::Gpu| {
            let cause = self.with.health.causes.get(&gpu.uuid).copied();
            Standing::of(&gpu.uuid, &records, cause, self.lacking(&gpu.uuid, now))
        };
        let standings: Vec<Standing> = self.known.iter().filter_map(standing).collect();
        let inventory = &self.inventory;
        self.with.findings.send_if_modified(|last| {
            let is_news =
                last.as_ref().is_none_or(|last| last.inventory != *inventory || last.standings != standings);
            if is_news {
                *last = Some(Finding { inventory: inventory.clone(), standings });
            }
            is_news
        });
    }

    /// One sick GPU does not make the plugin unready; it is told all the same.
    fn tell_devices(&self, states: &[Snapshot], too_large: &[ListTooLarge]) {
        let component = &self.with.components.devices;
        if let Some(refusal) = &self.refused {
            return component.not_ready("too-many-devices", refusal.as_str());
        }
        if self.offering.is_none() {
            return;
        }
        if let Some(error) = too_large.first() {
            return component.not_ready("list-too-large", error.to_string());
        }
        let devices = states.iter().flat_map(|state| &state.devices);
        let mut said: Vec<String> = devices.clone().filter_map(Device::complaint).collect();
        said.extend(self.remarks.iter().cloned());
        if devices.count() == 0 {
            component.not_ready("nothing-offered", said.join("; "));
        } else if said.is_empty() {
            component.ready();
        } else {
            component.ready_but(said.join("; "));
        }
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
