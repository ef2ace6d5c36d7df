//! The MIG devices of a GPU: nothing is asked while MIG is off. With MIG on one call, one for each index, and
//! for each device four and two of its GPU instance, beside the GPU's table of kinds once. The outline asks for two of
//! each device.

use std::collections::BTreeMap;

use gpu_model::{MigDevice, MigFailure, MigMode, MigOutline, MigProfile, MigSketch, Reading};

use crate::Code;
use crate::binding::{Failure, Gpu, InstanceKinds, MigHandle, reading};
use crate::protocol::Refusal;

/// What was found on one GPU.
#[derive(Default)]
pub(super) struct Parts {
    pub devices: Vec<MigDevice>,
    pub failures: Vec<MigFailure>,
}

/// The parts of a GPU with this mode and memory.
pub(super) fn take(
    gpu: &Gpu<'_>,
    mode: &Reading<MigMode>,
    gpu_memory: &Reading<u64>,
) -> Result<Parts, Refusal> {
    let mut parts = Parts::default();
    if !mode.value().is_some_and(|mode| mode.current) {
        return Ok(parts);
    }
    let count = match gpu.mig_indexes() {
        Ok(count) => count,
        Err(failure) => {
            parts.miss(None, failure)?;
            return Ok(parts);
        }
    };
    let mut kinds = InstanceKinds::default();
    // A GPU without memory of its own has 0 in its profiles' names.
    let gpu_memory = gpu_memory.value().copied().unwrap_or(0);
    for index in 0..count {
        let found = gpu.mig_device(index).and_then(|device| {
            device.map(|device| look(gpu, index, &device, gpu_memory, &mut kinds)).transpose()
        });
        match found {
            Ok(device) => parts.devices.extend(device),
            Err(failure) => {
                parts.miss(Some(index), failure)?;
                if failure.code == Code::GpuIsLost {
                    break;
                }
            }
        }
    }
    Ok(parts)
}

fn look(
    gpu: &Gpu<'_>,
    index: u32,
    device: &MigHandle<'_>,
    gpu_memory: u64,
    kinds: &mut InstanceKinds,
) -> Result<MigDevice, Failure> {
    let uuid = device.uuid()?;
    let (gpu_instance, compute_instance) = (device.gpu_instance()?, device.compute_instance()?);
    let size = device.size()?;
    let engines = gpu.instance_engines(gpu_instance, kinds)?;
    let memory = size.memory_bytes.value().copied().unwrap_or(0);
    let profile = MigProfile::new(size.gpu_slices, size.compute_slices, memory, gpu_memory, engines)
        .ok_or_else(|| Failure::senseless("nvmlDeviceGetAttributes_v2"))?;
    let (memory_bytes, attributes) = (size.memory_bytes, size.attributes);
    Ok(MigDevice { uuid, index, gpu_instance, compute_instance, profile, memory_bytes, attributes })
}

impl Parts {
    fn miss(&mut self, index: Option<u32>, failure: Failure) -> Result<(), Refusal> {
        let Failure { call, code } = failure;
        if code.needs_fresh_library() {
            return Err(failure.into());
        }
        self.failures.push(MigFailure { index, call: call.to_owned(), code: code.into() });
        Ok(())
    }
}

/// So much of the partitioning as shows that it changed.
pub(super) fn outline(gpu: &Gpu<'_>) -> Result<Reading<MigOutline>, Refusal> {
    reading(try_outline(gpu))
}

fn try_outline(gpu: &Gpu<'_>) -> Result<MigOutline, Failure> {
    let mode = gpu.mig_mode()?;
    let mut devices = BTreeMap::new();
    let count = if mode.current { gpu.mig_indexes()? } else { 0 };
    for index in 0..count {
        match gpu.mig_device(index).and_then(|device| device.map(|device| sketch(&device)).transpose()) {
            Ok(None) => {}
            Ok(sketch) => {
                devices.insert(index, sketch);
            }
            Err(failure) if failure.code.needs_fresh_library() || failure.code == Code::GpuIsLost => {
                return Err(failure);
            }
            Err(_) => {
                devices.insert(index, None);
            }
        }
    }
    Ok(MigOutline { mode, devices })
}

fn sketch(device: &MigHandle<'_>) -> Result<MigSketch, Failure> {
    let (uuid, size) = (device.uuid()?, device.size()?);
    Ok(MigSketch {
        uuid,
        gpu_slices: size.gpu_slices,
        compute_slices: size.compute_slices,
        memory_bytes: size.memory_bytes,
    })
}
