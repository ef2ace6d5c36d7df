//! The resource by which the daemons of a node get all device nodes: whether it is wanted, and whether it can be had.

use std::time::Instant;

use gpu_model::{Health, names};

use super::Watching;
use crate::offering;
use crate::resource_map::Offered;
use crate::state::Device;

impl Watching {
    /// Whether the spec is to have its device: as long as it is offered, and beyond while a pod holds it, whose container may
    /// be started again.
    pub(super) fn has_management(&self) -> bool {
        let is_offered = match &self.offering {
            Some(offering) => offering.management > 0,
            None => offering::management(&self.with.flags, self.with.config.borrow().as_deref()) > 0,
        };
        let holdings = self.with.holdings.borrow();
        is_offered
            || [&holdings.ids, &holdings.kept.ids]
                .iter()
                .flat_map(|ids| ids.iter())
                .any(|(resource, ids)| resource.as_str() == names::RESOURCE_GPU_MANAGEMENT && !ids.is_empty())
    }

    /// It is as well as can be whatever the GPUs are: who watches or mends them is needed most where they are ill. Without
    /// a driver there is nothing to hand out.
    pub(super) fn management(&self, offered: Offered, now: Instant) -> Device {
        let lacking = match self.obstacle.told(now) {
            Some(obstacle) => Some(obstacle.to_owned()),
            None if !self.host.has(cdi::builder::MANAGEMENT) => {
                Some("the driver's device nodes were not found yet".to_owned())
            }
            None if self.is_driver_gone && !self.has_usable_gpu() => Some("there is no driver".to_owned()),
            None => None,
        };
        Device { offered, health: Health::Healthy, lacking }
    }

    /// Whether any GPU may take work: while a driver is away for a moment they still may.
    fn has_usable_gpu(&self) -> bool {
        let healths = self.known.iter().filter_map(|gpu| self.with.health.ledger.health(&gpu.uuid));
        healths.into_iter().any(|health| health.is_schedulable())
    }
}
