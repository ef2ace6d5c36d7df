//! Whether each GPU answers, and what it says of itself: seven calls each, eight where the driver does not tell the
//! recovery action, and with MIG on those for an outline of its parts.

use gpu_model::{GpuFailure, GpuUuid, Reading};

use super::{Scope, mig, of_one_gpu};
use crate::binding::{Driver, Gpu, reading};
use crate::protocol::Refusal;
use crate::reach::Place;
use crate::{Code, Condition, Probe};

pub(super) fn probe(driver: &Driver<'_>, scope: &Scope) -> Result<Vec<Probe>, Refusal> {
    let one = |place: Place| match scope.failure(place.index) {
        Some(failure) => Ok(unidentified(failure.clone())),
        None => probe_gpu(driver, place),
    };
    scope.places(driver)?.into_iter().map(one).collect()
}

fn unidentified(failure: GpuFailure) -> Probe {
    let uuid = Reading::Failed { call: failure.call.clone(), code: failure.code };
    Probe {
        index: failure.index,
        uuid,
        failure: Some(failure),
        recovery: Reading::NotSupported,
        condition: Condition::NOT_ASKED,
        mig: Reading::NotSupported,
    }
}

fn probe_gpu(driver: &Driver<'_>, place: Place) -> Result<Probe, Refusal> {
    let identity = driver.gpu(place).and_then(|gpu| gpu.uuid().map(|uuid| (gpu, uuid)));
    let (gpu, uuid) = match identity {
        Ok(identity) => identity,
        Err(failure) => return Ok(unidentified(of_one_gpu(place.index, failure)?)),
    };
    identified(&gpu, uuid)
}

fn identified(gpu: &Gpu<'_>, uuid: GpuUuid) -> Result<Probe, Refusal> {
    let index = gpu.index;
    let (recovery, rows, links_up) = match gpu.condition_fields() {
        Ok(fields) => (reading(fields.recovery)?, reading(fields.rows)?, reading(fields.links_up)?),
        Err(failure) => (reading(Err(failure))?, Reading::NotSupported, Reading::NotSupported),
    };
    let failure = match &recovery {
        Reading::Value(_) => None,
        Reading::Failed { call, code } if is_the_gpus(Code::from(*code)) => {
            Some(GpuFailure { index, call: call.clone(), code: *code })
        }
        // An older driver, or one that has trouble with this field alone: any value that it must ask the
        // GPU for.
        Reading::NotSupported | Reading::Failed { .. } => match reading(gpu.memory_bytes())? {
            Reading::Failed { call, code } => Some(GpuFailure { index, call, code }),
            Reading::Value(_) | Reading::NotSupported => None,
        },
    };
    let uuid = Reading::Value(uuid);
    if failure.is_some() {
        let (condition, mig) = (Condition::NOT_ASKED, Reading::NotSupported);
        return Ok(Probe { index, uuid, failure, recovery, condition, mig });
    }
    let mig = mig::outline(gpu)?;
    let has_links = !mig.value().is_some_and(|outline| outline.mode.current);
    let condition = Condition {
        rows,
        sram_over_threshold: reading(gpu.sram_over_threshold())?,
        links_up: if has_links { links_up } else { Reading::NotSupported },
        fabric: reading(gpu.fabric())?,
        slowdown: reading(gpu.slowdown())?,
    };
    Ok(Probe { index, uuid, failure, recovery, condition, mig })
}

/// Whether a code says how the GPU is, whatever was asked of it.
fn is_the_gpus(code: Code) -> bool {
    matches!(code, Code::GpuIsLost | Code::ResetRequired)
}
