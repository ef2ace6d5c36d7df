//! What one GPU tells of the parts into which it is cut.

use std::ffi::c_uint;

use gpu_model::{MigAttributes, MigEngines, MigMode, MigProfile, MigUuid, Reading};
use nvml_wrapper_sys::bindings as sys;

use super::text::Text;
use super::{Caller, Driver, Failure, Gpu, raw};
use crate::Code;

/// More MIG devices than this on one GPU is an answer that makes no sense; no GPU has more than eight.
const MAX_MIG_DEVICES: u32 = 64;

/// `NVML_GPU_INSTANCE_PROFILE_3_SLICE_GFX` of header 13.3, which the bindings lack.
const PROFILE_3_SLICE_GFX: u32 = 17;

/// Kinds of GPU instances of header 13.3.
const PROFILE_COUNT: u32 = 18;

/// More engines or slices, and more multiprocessors, than this are an answer that makes no sense: no GPU has a tenth.
const MAX_PARTS: u32 = 256;
const MAX_MULTIPROCESSORS: u32 = 4096;

/// Room for a UUID; NVML asks for 96.
const UUID_SIZE: usize = 128;

/// A MIG device of a [`Gpu`].
pub(crate) struct MigHandle<'g> {
    gpu: &'g Gpu<'g>,
    handle: sys::nvmlDevice_t,
}

/// The size of a MIG device.
#[derive(Clone, Debug)]
pub(crate) struct MigSize {
    pub gpu_slices: u32,
    pub compute_slices: u32,
    pub memory_bytes: Reading<u64>,
    pub attributes: MigAttributes,
}

/// A kind of GPU instance that a GPU can be cut in.
struct Kind {
    /// By which instances say what they are.
    id: u32,
    slices: u32,
    memory_bytes: u64,
}

/// Which kinds of GPU instances one GPU has: ids, by which instances say what they are, in the order of the header's
/// numbers, of which only these say what an instance has. Asked for as far as needed.
#[derive(Debug, Default)]
pub(crate) struct InstanceKinds(Vec<Option<u32>>);

impl<'d> Gpu<'d> {
    pub fn mig_mode(&self) -> Result<MigMode, Failure> {
        const CALL: &str = "nvmlDeviceGetMigMode";
        if !self.driver.abilities.mig {
            return Err(Failure { call: CALL, code: Code::NotSupported });
        }
        let mode = self.get(CALL, |gpu| gpu.mig_mode())?;
        Ok(MigMode { current: mode.current != 0, pending: mode.pending != 0 })
    }

    /// Upper bound of the indexes of MIG devices.
    pub fn mig_indexes(&self) -> Result<u32, Failure> {
        let mut count: c_uint = 0;
        raw!(self, Query, nvmlDeviceGetMaxMigDeviceCount(self.handle, &raw mut count))?;
        if count > MAX_MIG_DEVICES {
            return Err(Failure::senseless("nvmlDeviceGetMaxMigDeviceCount"));
        }
        Ok(count)
    }

    /// The MIG device at an index; `None` where there is none.
    pub fn mig_device(&self, index: u32) -> Result<Option<MigHandle<'_>>, Failure> {
        let mut handle = std::ptr::null_mut();
        match raw!(self, Query, nvmlDeviceGetMigDeviceHandleByIndex(self.handle, index, &raw mut handle)) {
            Ok(()) if handle.is_null() => Err(Failure::senseless("nvmlDeviceGetMigDeviceHandleByIndex")),
            Ok(()) => Ok(Some(MigHandle { gpu: self, handle })),
            // Which of them it is depends on the driver.
            Err(Failure { code: Code::NotFound | Code::InvalidArgument, .. }) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// What engines a GPU instance has.
    pub fn instance_engines(&self, id: u32, kinds: &mut InstanceKinds) -> Result<MigEngines, Failure> {
        let mut instance = std::ptr::null_mut();
        raw!(self, Query, nvmlDeviceGetGpuInstanceById(self.handle, id, &raw mut instance))?;
        if instance.is_null() {
            return Err(Failure::senseless("nvmlDeviceGetGpuInstanceById"));
        }
        let mut info = sys::nvmlGpuInstanceInfo_t {
            device: std::ptr::null_mut(),
            id: 0,
            profileId: 0,
            placement: sys::nvmlGpuInstancePlacement_t { start: 0, size: 0 },
        };
        raw!(self, Query, nvmlGpuInstanceGetInfo(instance, &raw mut info))?;
        kinds.number_of(self, info.profileId).map(engines)
    }

    /// The profiles of which one more GPU instance could be made now, in the order of the header's numbers. Only root is
    /// told.
    pub fn mig_room(&self, gpu_memory: u64) -> Result<Vec<MigProfile>, Failure> {
        let mut room = Vec::new();
        for number in 0..PROFILE_COUNT {
            let Some(kind) = self.instance_kind(number)? else { continue };
            if self.remaining_capacity(kind.id)? > 0 {
                let Kind { slices, memory_bytes, .. } = kind;
                let profile = MigProfile::new(slices, slices, memory_bytes, gpu_memory, engines(number));
                let senseless = || Failure::senseless("nvmlDeviceGetGpuInstanceProfileInfo");
                room.push(profile.ok_or_else(senseless)?);
            }
        }
        Ok(room)
    }

    /// How many more instances of the kind with this id can be made.
    fn remaining_capacity(&self, kind: u32) -> Result<u32, Failure> {
        const CALL: &str = "nvmlDeviceGetGpuInstanceRemainingCapacity";
        let mut count: c_uint = 0;
        match raw!(self, Query, nvmlDeviceGetGpuInstanceRemainingCapacity(self.handle, kind, &raw mut count))
        {
            Ok(()) if count > MAX_MIG_DEVICES => Err(Failure::senseless(CALL)),
            Ok(()) => Ok(count),
            // This kind cannot be made.
            Err(Failure { code: Code::NotSupported | Code::InvalidArgument, .. }) => Ok(0),
            Err(failure) => Err(failure),
        }
    }

    /// The kind that the header calls by this number; `None` where the GPU has no such kind.
    fn instance_kind(&self, number: u32) -> Result<Option<Kind>, Failure> {
        let mut info = sys::nvmlGpuInstanceProfileInfo_t {
            id: 0,
            isP2pSupported: 0,
            sliceCount: 0,
            instanceCount: 0,
            multiprocessorCount: 0,
            copyEngineCount: 0,
            decoderCount: 0,
            encoderCount: 0,
            jpegCount: 0,
            ofaCount: 0,
            memorySizeMB: 0,
        };
        match raw!(self, Query, nvmlDeviceGetGpuInstanceProfileInfo(self.handle, number, &raw mut info)) {
            Ok(()) => Ok(Some(Kind {
                id: info.id,
                slices: info.sliceCount,
                memory_bytes: info.memorySizeMB.saturating_mul(1 << 20),
            })),
            Err(Failure { code: Code::NotSupported | Code::InvalidArgument, .. }) => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

impl InstanceKinds {
    /// The header's number of the kind with this id.
    fn number_of(&mut self, gpu: &Gpu<'_>, id: u32) -> Result<u32, Failure> {
        let asked = self.0.iter().position(|known| *known == Some(id));
        if let Some(number) = asked.and_then(|at| u32::try_from(at).ok()) {
            return Ok(number);
        }
        let next = u32::try_from(self.0.len()).unwrap_or(PROFILE_COUNT);
        for number in next..PROFILE_COUNT {
            let kind = gpu.instance_kind(number)?.map(|kind| kind.id);
            self.0.push(kind);
            if kind == Some(id) {
                return Ok(number);
            }
        }
        Err(Failure::senseless("nvmlGpuInstanceGetInfo"))
    }
}

impl MigHandle<'_> {
    pub fn uuid(&self) -> Result<MigUuid, Failure> {
        let mut text = Text::<UUID_SIZE>::new();
        raw!(self, Query, nvmlDeviceGetUUID(self.handle, text.pointer(), text.size()))?;
        text.read().parse().map_err(|_| Failure::senseless("nvmlDeviceGetUUID"))
    }

    pub fn gpu_instance(&self) -> Result<u32, Failure> {
        let mut id: c_uint = 0;
        raw!(self, Query, nvmlDeviceGetGpuInstanceId(self.handle, &raw mut id))?;
        Ok(id)
    }

    pub fn compute_instance(&self) -> Result<u32, Failure> {
        let mut id: c_uint = 0;
        raw!(self, Query, nvmlDeviceGetComputeInstanceId(self.handle, &raw mut id))?;
        Ok(id)
    }

    pub fn size(&self) -> Result<MigSize, Failure> {
        let mut attributes = sys::nvmlDeviceAttributes_t {
            multiprocessorCount: 0,
            sharedCopyEngineCount: 0,
            sharedDecoderCount: 0,
            sharedEncoderCount: 0,
            sharedJpegCount: 0,
            sharedOfaCount: 0,
            gpuInstanceSliceCount: 0,
            computeInstanceSliceCount: 0,
            memorySizeMB: 0,
        };
        raw!(self, Query, nvmlDeviceGetAttributes_v2(self.handle, &raw mut attributes))?;
        let counts = [
            attributes.sharedCopyEngineCount,
            attributes.sharedDecoderCount,
            attributes.sharedEncoderCount,
            attributes.sharedJpegCount,
            attributes.sharedOfaCount,
            attributes.gpuInstanceSliceCount,
            attributes.computeInstanceSliceCount,
        ];
        if counts.iter().any(|count| *count > MAX_PARTS)
            || attributes.multiprocessorCount > MAX_MULTIPROCESSORS
        {
            return Err(Failure::senseless("nvmlDeviceGetAttributes_v2"));
        }
        let memory_bytes = match attributes.memorySizeMB {
            0 => Reading::NotSupported,
            mib => Reading::Value(mib.saturating_mul(1 << 20)),
        };
        Ok(MigSize {
            gpu_slices: attributes.gpuInstanceSliceCount,
            compute_slices: attributes.computeInstanceSliceCount,
            memory_bytes,
            attributes: MigAttributes {
                multiprocessors: attributes.multiprocessorCount,
                copy_engines: attributes.sharedCopyEngineCount,
                decoders: attributes.sharedDecoderCount,
                encoders: attributes.sharedEncoderCount,
                jpeg_engines: attributes.sharedJpegCount,
                ofa_engines: attributes.sharedOfaCount,
            },
        })
    }
}

impl Caller for MigHandle<'_> {
    fn driver(&self) -> &Driver<'_> {
        self.gpu.driver
    }

    fn gpu_index(&self) -> Option<u32> {
        Some(self.gpu.index)
    }
}

/// By the header's number of a kind of GPU instance.
fn engines(kind: u32) -> MigEngines {
    match kind {
        sys::NVML_GPU_INSTANCE_PROFILE_1_SLICE_REV1 | sys::NVML_GPU_INSTANCE_PROFILE_2_SLICE_REV1 => {
            MigEngines::Media
        }
        sys::NVML_GPU_INSTANCE_PROFILE_1_SLICE_GFX
        | sys::NVML_GPU_INSTANCE_PROFILE_2_SLICE_GFX
        | sys::NVML_GPU_INSTANCE_PROFILE_4_SLICE_GFX
        | PROFILE_3_SLICE_GFX => MigEngines::Graphics,
        sys::NVML_GPU_INSTANCE_PROFILE_1_SLICE_NO_ME | sys::NVML_GPU_INSTANCE_PROFILE_2_SLICE_NO_ME => {
            MigEngines::NoMedia
        }
        sys::NVML_GPU_INSTANCE_PROFILE_1_SLICE_ALL_ME | sys::NVML_GPU_INSTANCE_PROFILE_2_SLICE_ALL_ME => {
            MigEngines::AllMedia
        }
        _ => MigEngines::Plain,
    }
}
