//! What GPUs there are. Seven calls for each GPU, one for each model of chip, and four for the node, beside
//! the two of the library's start; and those for the parts of a GPU while MIG is on.

use std::collections::BTreeMap;

use gpu_model::{Gpu as Seen, Inventory, Reading};

use super::{Identified, Known, Scope, mig, of_one_gpu};
use crate::binding::{Driver, Failure, Gpu, reading};
use crate::protocol::Refusal;
use crate::reach::Place;

/// Compute capabilities by PCI device id: the chip decides them, so one GPU of each kind is asked.
type Capabilities = BTreeMap<u32, Reading<(u32, u32)>>;

/// The inventory; the GPUs in it are those that are `identified` from then on.
pub(super) fn take<'d>(
    driver: &'d Driver<'d>,
    scope: &Scope,
    identified: &mut Option<Identified<'d>>,
) -> Result<Inventory, Refusal> {
    let versions = driver.versions()?;
    let (mut gpus, mut failures, mut capabilities) = (Vec::new(), Vec::new(), Capabilities::new());
    let mut known = Vec::new();
    for place in scope.places(driver)? {
        if let Some(failure) = scope.failure(place.index) {
            failures.push(failure.clone());
            continue;
        }
        match identify(driver, place) {
            Ok((gpu, uuid)) => {
                let (seen, model) = look(&gpu, uuid.clone(), &mut capabilities)?;
                gpus.push(seen);
                known.push(Known { place, gpu, uuid, model });
            }
            Err(failure) => failures.push(of_one_gpu(place.index, failure)?),
        }
    }
    *identified = Some(Identified { reach: scope.reach.clone(), gpus: known });
    Ok(Inventory { driver: versions, gpus, failures })
}

/// The GPU at a place, by its handle and UUID.
pub(super) fn identify<'d>(
    driver: &'d Driver<'d>,
    place: Place,
) -> Result<(Gpu<'d>, gpu_model::GpuUuid), Failure> {
    let gpu = driver.gpu(place)?;
    let uuid = gpu.uuid()?;
    Ok((gpu, uuid))
}

/// What a GPU is, and its model if it is whole.
fn look(
    gpu: &Gpu<'_>,
    uuid: gpu_model::GpuUuid,
    known: &mut Capabilities,
) -> Result<(Seen, Option<u32>), Refusal> {
    let pci = reading(gpu.pci())?;
    let compute_capability = match pci.value().and_then(|pci| known.get(&pci.chip)) {
        Some(known) => known.clone(),
        None => reading(gpu.compute_capability())?,
    };
    if let (Reading::Value(pci), Reading::Value(_)) = (&pci, &compute_capability) {
        known.insert(pci.chip, compute_capability.clone());
    }
    let memory_bytes = reading(gpu.memory_bytes())?;
    let mig_mode = reading(gpu.mig_mode())?;
    let parts = mig::take(gpu, &mig_mode, &memory_bytes)?;
    let is_partitioned = mig_mode.value().is_some_and(|mode| mode.current);
    let model = pci.value().map(|pci| pci.chip).filter(|_| !is_partitioned);
    let seen = Seen {
        index: gpu.index,
        uuid,
        minor: reading(gpu.minor())?,
        product: reading(gpu.name())?,
        pci: pci.map(|pci| pci.address),
        memory_bytes,
        compute_capability,
        // Of the CPUs, not of NVML: sysfs has it under the PCI address.
        numa_node: Reading::NotSupported,
        mig_mode,
        mig_devices: parts.devices,
        mig_failures: parts.failures,
    };
    Ok((seen, model))
}
