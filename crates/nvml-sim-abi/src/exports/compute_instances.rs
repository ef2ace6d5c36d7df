//! Compute instances: profiles within a GPU instance, placements, what is left, making and ending.

use std::mem::offset_of;

use nvml_sim::{Call, Code, ComputeInstanceProfile, GpuInstanceView};
use nvml_sim::{compute_instance_handle, gpu_instance_handle};
use nvml_wrapper_sys::bindings::*;

use super::exports;
use crate::from_c::{Out, handle, text_array};

/// One more than the highest profile of the header; the bindings do not know the last one yet.
const PROFILES_END: u32 = NVML_COMPUTE_INSTANCE_PROFILE_COUNT + 1;
/// What `nvmlComputeInstanceInfo_t` ended with before placements were added to it.
const OLD_INFO_BYTES: usize = offset_of!(nvmlComputeInstanceInfo_t, placement);
const _: () = assert!(OLD_INFO_BYTES == 24, "an old client's struct is so long");

fn instance<'a>(call: &'a Call<'_>, handle: &Out<nvmlGpuInstance_st>) -> Result<GpuInstanceView<'a>, Code> {
    call.gpu_instance(handle.number())
}

fn profile(of: GpuInstanceView<'_>, number: u32, engines: u32) -> Result<&ComputeInstanceProfile, Code> {
    if number >= PROFILES_END || engines >= NVML_COMPUTE_INSTANCE_ENGINE_PROFILE_COUNT {
        return Err(Code::INVALID_ARGUMENT);
    }
    let mut profiles = of.gpu.mig_table()?.compute_of(of.profile);
    profiles.find(|known| known.profile == number).ok_or(Code::NOT_SUPPORTED)
}

fn info(call: &Call<'_>, of: &Out<nvmlComputeInstance_st>) -> Result<nvmlComputeInstanceInfo_t, Code> {
    let instance = call.compute_instance(of.number())?;
    Ok(nvmlComputeInstanceInfo_t {
        device: handle(call.handle_of(instance.of.gpu.gpu)),
        gpuInstance: handle(gpu_instance_handle(instance.of)),
        id: instance.id,
        profileId: instance.profile.id,
        placement: nvmlComputeInstancePlacement_t {
            start: instance.made.start,
            size: instance.profile.slices,
        },
    })
}

exports! {
    fn nvmlGpuInstanceGetComputeInstanceProfileInfo(
        of: nvmlGpuInstance_t, number: u32, engines: u32, info: *mut nvmlComputeInstanceProfileInfo_t
    ) => |call| {
        let of = instance(call, &of)?;
        let profile = profile(of, number, engines)?;
        let engines = of.profile.engines;
        info.put(nvmlComputeInstanceProfileInfo_t {
            id: profile.id,
            sliceCount: profile.slices,
            instanceCount: profile.count(of.profile),
            multiprocessorCount: profile.sms,
            sharedCopyEngineCount: engines.copy,
            sharedDecoderCount: engines.decode,
            sharedEncoderCount: engines.encode,
            sharedJpegCount: engines.jpeg,
            sharedOfaCount: engines.ofa,
        })
    };
    fn nvmlGpuInstanceGetComputeInstanceProfileInfoV(
        of: nvmlGpuInstance_t, number: u32, engines: u32, info: *mut nvmlComputeInstanceProfileInfo_v2_t
    ) => |call| {
        let of = instance(call, &of)?;
        let profile = profile(of, number, engines)?;
        let (engines, name) = (of.profile.engines, text_array(&profile.driver_name(of.profile)));
        let whole = |version| nvmlComputeInstanceProfileInfo_v3_t {
            version,
            id: profile.id,
            sliceCount: profile.slices,
            instanceCount: profile.count(of.profile),
            multiprocessorCount: profile.sms,
            sharedCopyEngineCount: engines.copy,
            sharedDecoderCount: engines.decode,
            sharedEncoderCount: engines.encode,
            sharedJpegCount: engines.jpeg,
            sharedOfaCount: engines.ofa,
            name,
            capabilities: 0,
        };
        if let Ok((info, version)) = info.of_version::<nvmlComputeInstanceProfileInfo_v3_t>(3) {
            return info.put(whole(version));
        }
        let (info, version) = info.of_version::<nvmlComputeInstanceProfileInfo_v2_t>(2)?;
        // The third version is the second one and a word more.
        info.put_beginning_of(whole(version))
    };
    fn nvmlGpuInstanceGetComputeInstancePossiblePlacements(
        of: nvmlGpuInstance_t, id: u32, list: *mut nvmlComputeInstancePlacement_t, count: *mut u32
    ) => |call| {
        let of = instance(call, &of)?;
        let profile = of.compute_profile(id)?;
        count.put(profile.starts(of.profile).count() as u32)?;
        if list.is_null() {
            return Ok(());
        }
        let size = profile.slices;
        list.put_all(profile.starts(of.profile).map(|start| nvmlComputeInstancePlacement_t { start, size }))
    };
    fn nvmlGpuInstanceGetComputeInstanceRemainingCapacity(
        of: nvmlGpuInstance_t, id: u32, count: *mut u32
    ) => |call| {
        let of = instance(call, &of)?;
        count.put(of.made.remaining(of.gpu.mig_table()?, of.profile, of.compute_profile(id)?))
    };
    fn nvmlGpuInstanceCreateComputeInstance(
        of: nvmlGpuInstance_t, id: u32, made: *mut nvmlComputeInstance_t
    ) => |call| {
        let of = instance(call, &of)?;
        made.present()?.put(handle(call.library.create_compute_instance(of, id, None)?))
    };
    fn nvmlGpuInstanceCreateComputeInstanceWithPlacement(
        of: nvmlGpuInstance_t, id: u32, placement: *const nvmlComputeInstancePlacement_t,
        made: *mut nvmlComputeInstance_t
    ) => |call| {
        let (of, place) = (instance(call, &of)?, placement.get()?);
        let place = Some((place.start, place.size));
        made.present()?.put(handle(call.library.create_compute_instance(of, id, place)?))
    };
    fn nvmlComputeInstanceDestroy(instance: nvmlComputeInstance_t) => |call| {
        call.library.destroy_compute_instance(call.compute_instance(instance.number())?)
    };
    // The caller's array has as many places as the profile can have instances.
    fn nvmlGpuInstanceGetComputeInstances(
        of: nvmlGpuInstance_t, id: u32, list: *mut nvmlComputeInstance_t, count: *mut u32
    ) => |call| {
        let of = instance(call, &of)?;
        of.compute_profile(id)?;
        let of_it = || of.compute_instances().filter(|made| made.profile.id == id);
        list.present()?;
        count.put(of_it().count() as u32)?;
        list.put_all(of_it().map(|made| handle(compute_instance_handle(made))))
    };
    fn nvmlGpuInstanceGetComputeInstanceById(
        of: nvmlGpuInstance_t, id: u32, made: *mut nvmlComputeInstance_t
    ) => |call| {
        let of = instance(call, &of)?;
        made.present()?;
        let found = of.compute_instances().find(|made| made.id == id).ok_or(Code::NOT_FOUND)?;
        made.put(handle(compute_instance_handle(found)))
    };
    fn nvmlComputeInstanceGetInfo(of: nvmlComputeInstance_t, out: *mut nvmlComputeInstanceInfo_t) => |call| {
        out.put_beginning(info(call, &of)?, OLD_INFO_BYTES)
    };
    fn nvmlComputeInstanceGetInfo_v2(of: nvmlComputeInstance_t, out: *mut nvmlComputeInstanceInfo_t) => |call| {
        out.put(info(call, &of)?)
    };
}
