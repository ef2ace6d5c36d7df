//! Whether each GPU answers: three calls each, four on a driver that knows no recovery action.

use gpu_model::{GpuFailure, GpuUuid, Reading};

use super::of_one_gpu;
use crate::binding::{Driver, Failure, Gpu, reading};
use crate::protocol::Refusal;
use crate::{Probe, RecoveryAction};

pub(super) fn probe(driver: &Driver<'_>) -> Result<Vec<Probe>, Refusal> {
    (0..driver.gpu_count()?).map(|index| probe_gpu(driver, index)).collect()
}

fn probe_gpu(driver: &Driver<'_>, index: u32) -> Result<Probe, Refusal> {
    let unidentified = |failure: Failure| {
        let failure = of_one_gpu(index, failure)?;
        let uuid = Reading::Failed { call: failure.call.clone(), code: failure.code };
        Ok(Probe { index, uuid, failure: Some(failure), recovery: Reading::NotSupported })
    };
    let gpu = match driver.gpu(index) {
        Ok(gpu) => gpu,
        Err(failure) => return unidentified(failure),
    };
    let uuid = match gpu.uuid() {
        Ok(uuid) => uuid,
        Err(failure) => return unidentified(failure),
    };
    let recovery = reading(gpu.recovery_action())?;
    identified(&gpu, uuid, recovery)
}

fn identified(gpu: &Gpu<'_>, uuid: GpuUuid, recovery: Reading<RecoveryAction>) -> Result<Probe, Refusal> {
    let index = gpu.index;
    let failure = match &recovery {
        Reading::Value(_) => None,
        Reading::Failed { call, code } => Some(GpuFailure { index, call: call.clone(), code: *code }),
        // An older driver: any value that it must ask the GPU for.
        Reading::NotSupported => match reading(gpu.memory_bytes())? {
            Reading::Failed { call, code } => Some(GpuFailure { index, call, code }),
            Reading::Value(_) | Reading::NotSupported => None,
        },
    };
    Ok(Probe { index, uuid: Reading::Value(uuid), failure, recovery })
}
