//! What is remembered from one look to the next, so that labels do not flicker: a GPU that is missed once, a driver that is
//! away for a while. Pure.

use std::collections::BTreeMap;
use std::time::Instant;

use gpu_model::{Gpu, GpuDetails, GpuUuid, Reading};

use crate::discovery::RETRY;
use crate::facts::{DriverFacts, Facts};
use crate::labels::Labels;

/// At so many looks in a row that miss a GPU, its labels go. A look counts when the last that did is [`RETRY`] ago.
const MISSES: u32 = 3;

/// What is remembered.
#[derive(Debug, Default)]
pub struct Memory {
    gpus: BTreeMap<GpuUuid, Remembered>,
    labels: Option<Labels>,
}

#[derive(Debug)]
struct Remembered {
    gpu: Gpu,
    details: Option<GpuDetails>,
    missed: u32,
    /// When a miss was counted last.
    counted: Option<Instant>,
}

impl Memory {
    /// One that remembers the labels of an earlier process.
    pub fn of(labels: Option<Labels>) -> Memory {
        Memory { gpus: BTreeMap::new(), labels }
    }

    /// Takes in what the driver says, and completes it by GPUs that it said earlier and does not say now, or not whole: as
    /// they were, until they are missed once too often. Gives those.
    pub fn complete(&mut self, driver: &mut DriverFacts, now: Instant) -> Vec<GpuUuid> {
        let DriverFacts { inventory, details } = driver;
        let whole: Vec<&Gpu> = inventory.gpus.iter().filter(|gpu| is_whole(gpu)).collect();
        for gpu in whole {
            let details = details.gpus.iter().find(|it| it.uuid == gpu.uuid).cloned();
            let seen = Remembered { gpu: gpu.clone(), details, missed: 0, counted: None };
            self.gpus.insert(gpu.uuid.clone(), seen);
        }
        let is_whole = |uuid: &GpuUuid| inventory.gpus.iter().any(|gpu| gpu.uuid == *uuid && is_whole(gpu));
        for (uuid, remembered) in &mut self.gpus {
            let counts = remembered.counted.is_none_or(|last| now.saturating_duration_since(last) >= RETRY);
            if !is_whole(uuid) && counts {
                remembered.missed += 1;
                remembered.counted = Some(now);
            }
        }
        self.gpus.retain(|_, remembered| remembered.missed < MISSES);
        let missed: Vec<&Remembered> =
            self.gpus.values().filter(|remembered| remembered.missed > 0).collect();
        for Remembered { gpu, details: known, .. } in &missed {
            inventory.gpus.retain(|other| other.uuid != gpu.uuid);
            inventory.failures.retain(|failure| failure.index != gpu.index);
            inventory.gpus.push(gpu.clone());
            if let Some(known) = known
                && !details.gpus.iter().any(|it| it.uuid == gpu.uuid)
            {
                details.gpus.push(known.clone());
            }
        }
        inventory.gpus.sort_by_key(|gpu| gpu.index);
        missed.into_iter().map(|remembered| remembered.gpu.uuid.clone()).collect()
    }

    /// The labels to show: these, and while the driver is away with those of before that it would give. A machine on whose
    /// bus there is no GPU any more has none to remember.
    pub fn settle(&mut self, labels: Labels, facts: &Facts) -> Labels {
        let has_no_gpu = facts.pci.as_ref().is_some_and(|functions| !functions.iter().any(is_gpu));
        if facts.driver.is_some() || has_no_gpu {
            self.labels = Some(labels.clone());
            return labels;
        }
        let mut shown = self.labels.clone().unwrap_or_default();
        shown.extend(labels);
        shown
    }

    /// What the next process has to know.
    pub fn labels(&self) -> Option<&Labels> {
        self.labels.as_ref()
    }
}

/// A display controller, whether VGA or 3D.
fn is_gpu(function: &crate::facts::PciFunction) -> bool {
    matches!(function.class >> 8, 0x0300 | 0x0302)
}

/// Whether everything was read of which labels are made.
fn is_whole(gpu: &Gpu) -> bool {
    fn failed<T>(reading: &Reading<T>) -> bool {
        matches!(reading, Reading::Failed { .. })
    }
    !(failed(&gpu.product)
        || failed(&gpu.pci)
        || failed(&gpu.memory_bytes)
        || failed(&gpu.compute_capability)
        || failed(&gpu.mig_mode)
        || !gpu.mig_failures.is_empty())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gpu_model::{Details, DriverVersions, Inventory};

    use super::*;

    fn driver(gpus: &[Gpu]) -> DriverFacts {
        let driver =
            DriverVersions { driver: String::new(), nvml: String::new(), cuda: Reading::NotSupported };
        let inventory = Inventory { driver, gpus: gpus.to_vec(), failures: Vec::new() };
        let details = Details { gpus: Vec::new(), confidential_compute: Reading::NotSupported };
        DriverFacts { inventory, details }
    }

    #[test]
    fn gpu_that_is_missed_goes_after_three_looks_that_are_apart_however_many_there_are_between() {
        let gpu = Gpu::bare(0, "GPU-00000000-0000-0000-0000-000000000000".parse().unwrap());
        let (begin, second) = (Instant::now(), Duration::from_secs(1));
        let mut memory = Memory::default();
        for round in 0..2 {
            let found = begin + second * 100 * round;
            assert!(memory.complete(&mut driver(std::slice::from_ref(&gpu)), found).is_empty());
            // A look each second, as events lead to; the first that misses it is at 1.
            for after in 1..20 {
                let mut seen = driver(&[]);
                let missed = memory.complete(&mut seen, found + second * after);
                let is_kept = after < 11;
                assert_eq!(
                    (missed.len() == 1, seen.inventory.gpus.len() == 1),
                    (is_kept, is_kept),
                    "{after} s"
                );
            }
        }
    }
}
