//! From the ledger to the board: the resources that follow from what is known, and who is told of them.

use std::sync::Arc;
use std::time::Instant;

use super::Watching;
use crate::cdi_gate::CdiGate;
use crate::injection::Need;
use crate::offering::Offering;
use crate::report::{Finding, health_record};
use crate::resource_map::{Offered, Unit, resource_map};
use crate::spec_file::Depth;
use crate::state::{Device, Snapshot, SpecState, State};
use crate::streams::{self, ListTooLarge};

impl Watching {
    /// Takes the config that is in force over, unless the kubelet would not take what follows from it.
    pub(super) fn adopt_config(&mut self) {
        let config = self.with.config.borrow_and_update().clone();
        let Some(config) = config else { return };
        match Offering::new(&self.with.flags, Some(&config)) {
            Err(refusal) => self.refused = Some(("config-refused", refusal.to_string())),
            Ok(offering) => match resource_map(&offering, &self.known).check() {
                Err(refusal) => self.refused = Some(("too-many-devices", refusal.to_string())),
                Ok(()) => {
                    self.refused = None;
                    self.with.metrics.config_taken();
                    self.judge_by(&config.xids);
                    self.take_over(offering);
                }
            },
        }
        if let Some((_, refusal)) = &self.refused {
            tracing::error!(refusal, "the config is not taken over");
        }
        self.publish();
        // Behind the states: whoever reads that CDI is not needed finds none that hands out its names.
        if let Some(offering) = &self.offering {
            let uses_cdi = Some(offering.injection.uses_cdi());
            self.with.uses_cdi.send_if_modified(|told| std::mem::replace(told, uses_cdi) != uses_cdi);
        }
    }

    fn take_over(&mut self, offering: Offering) {
        // The spec may lack the device of the management, or have it still.
        if self.offering.as_ref().is_some_and(|before| before.management != offering.management) {
            self.want_spec(Depth::Glance);
        }
        let before = self.offering.replace(offering).map(|offering| offering.injection);
        let Some(now) = self.offering.as_ref().map(|offering| Arc::clone(&offering.injection)) else {
            return;
        };
        if before.as_ref() == Some(&now) {
            return;
        }
        for setting in &now.without_effect {
            tracing::warn!(setting, "a setting is passed over, as by NVIDIA's device plugin");
        }
        let Some(before) = before else { return };
        if now.need() > before.need() {
            // What is registered stays so until the spec is there, and hands nothing out.
            self.had_spec = true;
            self.spec_problem = Some("it was not written yet".to_owned());
        }
        self.want_spec(Depth::Full);
    }

    /// Publishes the device lists that follow from what is known, and that this was done.
    pub(super) fn publish(&mut self) {
        self.publish_lists();
        self.tell_yielded();
    }

    fn publish_lists(&mut self) {
        let spec = self.spec_state();
        let now = Instant::now();
        let uses_cdi = self.offering.as_ref().is_some_and(|offering| offering.injection.uses_cdi());
        self.obstacle.note(obstacle_of(&spec, uses_cdi, &self.with.cdi.borrow()), now);
        let Some(offering) = &self.offering else { return self.tell_devices(&[], &[]) };
        let terms = offering.terms();
        let injection = Arc::clone(&offering.injection);
        let mut map = resource_map(offering, &self.known);
        let mut staged = self.stage(map.resources);
        map.remarks.extend(staged.remarks());
        if map.remarks != self.remarks {
            for remark in map.remarks.iter().filter(|remark| !self.remarks.contains(remark)) {
                tracing::warn!(remark, "not all is offered");
            }
            self.remarks = map.remarks;
        }
        let mut too_large = Vec::new();
        let mut states = Vec::new();
        for resource in staged.retired.keys() {
            staged.resources.entry(resource.clone()).or_default();
        }
        for (resource, offered) in staged.resources {
            let retired = staged.retired.remove(&resource).unwrap_or_default();
            let mut devices: Vec<Device> =
                offered.into_iter().filter_map(|offered| self.device(offered, now)).collect();
            if let Err(error) = streams::check_list(&devices, &retired) {
                // What the kubelet has already fitted; newcomers stand behind.
                let before = self.with.board.current().into_iter().find(|state| state.resource == resource);
                devices.truncate(before.map_or(0, |state| state.devices.len()));
                while streams::check_list(&devices, &retired).is_err() && devices.pop().is_some() {}
                too_large.push(error);
            }
            states.push(State {
                resource,
                generation: 0,
                devices,
                retired,
                affinity: Arc::clone(&self.affinity),
                spec: spec.clone(),
                terms,
                injection: Arc::clone(&injection),
                host: Arc::clone(&self.host),
            });
        }
        self.with.board.publish(states);
        let states = self.with.board.current();
        for state in &states {
            let metrics = self.with.metrics.of(&state.resource);
            metrics.state(state);
            metrics.held(self.held_ids(&state.resource));
        }
        self.tell_devices(&states, &too_large);
        self.report(now);
    }

    fn device(&self, offered: Offered, now: Instant) -> Option<Device> {
        let Some(gpu) = offered.gpu() else { return Some(self.management(offered, now)) };
        let ledger = &self.with.health.ledger;
        let health = match offered.mig {
            Some(place) => ledger.instance_health(gpu, place.gpu_instance)?,
            None => ledger.health(gpu)?,
        };
        let own = match &offered.unit {
            Unit::Mig(part) if self.need() >= Need::Nodes => self.mig_lacking.get(part).cloned(),
            _ => None,
        };
        let lacking = own.or_else(|| self.lacking(gpu, now));
        Some(Device { offered, health, lacking })
    }

    /// What stands in the way of handing the GPU out, or any part of it, although it is healthy.
    fn lacking(&self, gpu: &gpu_model::GpuUuid, now: Instant) -> Option<String> {
        // Where nobody needs its nodes from here, whoever injects it makes them.
        let own = self.lacking.get(gpu).filter(|_| self.need() >= Need::Nodes).map(String::as_str);
        own.or_else(|| self.obstacle.told(now)).map(str::to_owned)
    }

    fn report(&self, now: Instant) {
        let records = self.with.health.ledger.records();
        let record = |gpu: &gpu_model::Gpu| {
            let cause = self.with.health.causes.get(&gpu.uuid).copied();
            let record = health_record(&gpu.uuid, &records, cause, self.lacking(&gpu.uuid, now))?;
            Some((gpu.uuid.clone(), record))
        };
        let health = self.known.iter().filter_map(record).collect();
        let inventory = &self.inventory;
        self.with.findings.send_if_modified(|last| {
            let is_news =
                last.as_ref().is_none_or(|last| last.inventory != *inventory || last.health != health);
            if is_news {
                *last = Some(Finding { inventory: inventory.clone(), health });
            }
            is_news
        });
    }

    /// One sick GPU does not make the plugin unready; it is told all the same.
    fn tell_devices(&self, states: &[Snapshot], too_large: &[ListTooLarge]) {
        let component = &self.with.components.devices;
        if let Some((code, refusal)) = &self.refused {
            return component.not_ready(*code, refusal.as_str());
        }
        if self.offering.is_none() {
            return;
        }
        if let Some(error) = too_large.first() {
            return component.not_ready("list-too-large", error.to_string());
        }
        let devices = states.iter().flat_map(|state| &state.devices);
        let mut said: Vec<String> = devices.filter_map(Device::complaint).collect();
        said.extend(self.remarks.iter().cloned());
        let is_of_gpus = |state: &&Snapshot| state.devices.iter().any(|device| device.offered.gpu.is_some());
        if !states.iter().any(|state| is_of_gpus(&state) || !state.retired.is_empty()) {
            component.not_ready("nothing-offered", said.join("; "));
        } else if said.is_empty() {
            component.ready();
        } else {
            component.ready_but(said.join("; "));
        }
    }
}

/// Why no device can be handed out, if that is so. Before the first spec nothing is registered, and nobody asks.
fn obstacle_of(spec: &SpecState, uses_cdi: bool, cdi: &CdiGate) -> Option<String> {
    match (spec, cdi) {
        (_, CdiGate::Revoked { reason }) if uses_cdi => Some(format!("CDI is not proven any more: {reason}")),
        (SpecState::Stale { reason }, _) => Some(format!("the CDI spec cannot be used: {reason}")),
        _ => None,
    }
}
