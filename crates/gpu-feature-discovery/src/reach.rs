//! What of the driver may be asked while GPUs are leased: the others, where they are known, and nothing where not. Pure.

use std::collections::BTreeSet;

use gpu_model::{Gpu, GpuUuid};
use nvml::GpuAt;

use crate::facts::DriverFacts;

/// What may be asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Reach {
    /// Everything: no GPU is leased.
    #[default]
    All,
    /// These GPUs; of the others stands what was seen last.
    Some {
        /// Those that may be touched, at least one.
        gpus: Vec<GpuAt>,
        /// What was seen last.
        last: Box<DriverFacts>,
    },
    /// Nothing: no GPU may be touched, or it is not known which.
    Nothing,
}

impl Reach {
    /// While these are leased; `last` is what was seen of the driver before.
    pub fn beside(leased: &BTreeSet<GpuUuid>, last: Option<&DriverFacts>) -> Reach {
        if leased.is_empty() {
            return Reach::All;
        }
        let Some(last) = last else { return Reach::Nothing };
        let others = last.inventory.gpus.iter().filter(|gpu| !leased.contains(&gpu.uuid));
        // A GPU whose address is not known cannot be asked for alone.
        let gpus: Vec<GpuAt> =
            others.filter_map(|gpu| Some(GpuAt { index: gpu.index, pci: *gpu.pci.value()? })).collect();
        if gpus.is_empty() { Reach::Nothing } else { Reach::Some { gpus, last: Box::new(last.clone()) } }
    }

    /// The GPUs to which NVML is to keep; none where it need not.
    pub fn confines_to(&self) -> Option<Vec<GpuAt>> {
        match self {
            Reach::All => None,
            Reach::Some { gpus, .. } => Some(gpus.clone()),
            Reach::Nothing => Some(Vec::new()),
        }
    }

    /// Completes what the driver said of the GPUs that may be touched by what is known of the others.
    pub fn complete(&self, driver: &mut DriverFacts) {
        let Reach::Some { gpus, last } = self else { return };
        let DriverFacts { inventory, details } = driver;
        let is_asked = |gpu: &Gpu| gpu.pci.value().is_some_and(|pci| gpus.iter().any(|at| at.pci == *pci));
        let left: Vec<Gpu> = last.inventory.gpus.iter().filter(|gpu| !is_asked(gpu)).cloned().collect();
        for gpu in left {
            details.gpus.extend(last.details.gpus.iter().find(|it| it.uuid == gpu.uuid).cloned());
            inventory.gpus.push(gpu);
        }
        // One that could not be identified may be a leased one.
        let failed: BTreeSet<u32> = inventory.failures.iter().map(|failure| failure.index).collect();
        let unidentified = last.inventory.failures.iter().filter(|failure| !failed.contains(&failure.index));
        inventory.failures.extend(unidentified.cloned());
        inventory.gpus.sort_by_key(|gpu| gpu.index);
    }
}
