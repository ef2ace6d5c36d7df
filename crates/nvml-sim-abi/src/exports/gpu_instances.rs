//! GPU instances: profiles, placements, what is left, making and ending.

use nvml_sim::{Call, Code, GpuInstanceProfile, GpuView, gpu_instance_handle};
use nvml_wrapper_sys::bindings::*;

use super::{exports, gpu};
use crate::from_c::{Out, handle, text_array};

/// One more than the highest profile of the header; the bindings do not know the last one yet.
const PROFILES_END: u32 = NVML_GPU_INSTANCE_PROFILE_COUNT + 1;

/// `NVML_GPU_INSTANCE_PROFILE_CAPS_GFX`.
const CAPABILITY_GRAPHICS: u32 = 1 << 1;

/// The profile of a header's number: `NOT_SUPPORTED` where the GPU lacks it, so that clients go on to the next.
fn profile(view: GpuView<'_>, number: u32) -> Result<&GpuInstanceProfile, Code> {
    let table = view.mig_table()?;
    if number >= PROFILES_END {
        return Err(Code::INVALID_ARGUMENT);
    }
    table.profile(number).ok_or(Code::NOT_SUPPORTED)
}

fn by_id(view: GpuView<'_>, id: u32) -> Result<&GpuInstanceProfile, Code> {
    view.mig_table()?.by_id(id).ok_or(Code::INVALID_ARGUMENT)
}

/// Both versions are of one size, so the version alone tells them apart.
fn versioned(info: &Out<nvmlGpuInstanceProfileInfo_v2_t>, profile: &GpuInstanceProfile) -> Result<(), Code> {
    let (engines, name) = (profile.engines, text_array(&profile.driver_name()));
    if let Ok((info, version)) = info.of_version::<nvmlGpuInstanceProfileInfo_v3_t>(3) {
        return info.put(nvmlGpuInstanceProfileInfo_v3_t {
            version,
            id: profile.id,
            sliceCount: profile.slices,
            instanceCount: profile.count,
            multiprocessorCount: profile.sms,
            copyEngineCount: engines.copy,
            decoderCount: engines.decode,
            encoderCount: engines.encode,
            jpegCount: engines.jpeg,
            ofaCount: engines.ofa,
            memorySizeMB: profile.memory.0 >> 20,
            name,
            capabilities: if profile.has_graphics() { CAPABILITY_GRAPHICS } else { 0 },
        });
    }
    let (info, version) = info.of_version::<nvmlGpuInstanceProfileInfo_v2_t>(2)?;
    info.put(nvmlGpuInstanceProfileInfo_v2_t {
        version,
        id: profile.id,
        isP2pSupported: 0,
        sliceCount: profile.slices,
        instanceCount: profile.count,
        multiprocessorCount: profile.sms,
        copyEngineCount: engines.copy,
        decoderCount: engines.decode,
        encoderCount: engines.encode,
        jpegCount: engines.jpeg,
        ofaCount: engines.ofa,
        memorySizeMB: profile.memory.0 >> 20,
        name,
    })
}

/// Also with MIG off. Without memory for them only their number is told.
fn placements(
    call: &Call<'_>,
    device: &Out<nvmlDevice_st>,
    id: u32,
    placements: &Out<nvmlGpuInstancePlacement_t>,
    count: &Out<u32>,
) -> Result<(), Code> {
    let profile = by_id(gpu(call, device)?, id)?;
    count.put(profile.starts.len() as u32)?;
    if placements.is_null() {
        return Ok(());
    }
    let size = profile.size;
    placements.put_all(profile.starts.iter().map(|start| nvmlGpuInstancePlacement_t { start: *start, size }))
}

exports! {
    fn nvmlDeviceGetGpuInstanceProfileInfo(
        device: nvmlDevice_t, number: u32, info: *mut nvmlGpuInstanceProfileInfo_t
    ) => |call| {
        let profile = profile(gpu(call, &device)?, number)?;
        let engines = profile.engines;
        info.put(nvmlGpuInstanceProfileInfo_t {
            id: profile.id,
            isP2pSupported: 0,
            sliceCount: profile.slices,
            instanceCount: profile.count,
            multiprocessorCount: profile.sms,
            copyEngineCount: engines.copy,
            decoderCount: engines.decode,
            encoderCount: engines.encode,
            jpegCount: engines.jpeg,
            ofaCount: engines.ofa,
            memorySizeMB: profile.memory.0 >> 20,
        })
    };
    fn nvmlDeviceGetGpuInstanceProfileInfoV(
        device: nvmlDevice_t, number: u32, info: *mut nvmlGpuInstanceProfileInfo_v2_t
    ) => |call| versioned(&info, profile(gpu(call, &device)?, number)?);
    fn nvmlDeviceGetGpuInstanceProfileInfoByIdV(
        device: nvmlDevice_t, id: u32, info: *mut nvmlGpuInstanceProfileInfo_v2_t
    ) => |call| versioned(&info, by_id(gpu(call, &device)?, id)?);
    fn nvmlDeviceGetGpuInstancePossiblePlacements(
        device: nvmlDevice_t, id: u32, list: *mut nvmlGpuInstancePlacement_t, count: *mut u32
    ) => |call| placements(call, &device, id, &list, &count);
    fn nvmlDeviceGetGpuInstancePossiblePlacements_v2(
        device: nvmlDevice_t, id: u32, list: *mut nvmlGpuInstancePlacement_t, count: *mut u32
    ) => |call| placements(call, &device, id, &list, &count);
    fn nvmlDeviceGetGpuInstanceRemainingCapacity(device: nvmlDevice_t, id: u32, count: *mut u32) => |call| {
        let view = gpu(call, &device)?;
        let (table, mig) = view.mig()?;
        count.put(mig.remaining(table, by_id(view, id)?))
    };
    fn nvmlDeviceCreateGpuInstance(device: nvmlDevice_t, id: u32, instance: *mut nvmlGpuInstance_t) => |call| {
        let view = gpu(call, &device)?;
        instance.present()?.put(handle(call.library.create_gpu_instance(view, id, None)?))
    };
    fn nvmlDeviceCreateGpuInstanceWithPlacement(
        device: nvmlDevice_t, id: u32, placement: *const nvmlGpuInstancePlacement_t,
        instance: *mut nvmlGpuInstance_t
    ) => |call| {
        let (view, place) = (gpu(call, &device)?, placement.get()?);
        let place = Some((place.start, place.size));
        instance.present()?.put(handle(call.library.create_gpu_instance(view, id, place)?))
    };
    fn nvmlGpuInstanceDestroy(instance: nvmlGpuInstance_t) => |call| {
        call.library.destroy_gpu_instance(call.gpu_instance(instance.number())?)
    };
    // The caller's array has as many places as the profile can have instances.
    fn nvmlDeviceGetGpuInstances(
        device: nvmlDevice_t, id: u32, list: *mut nvmlGpuInstance_t, count: *mut u32
    ) => |call| {
        let view = gpu(call, &device)?;
        view.mig()?;
        let profile = by_id(view, id)?;
        let of_it = || view.gpu_instances().filter(|instance| instance.profile.id == profile.id);
        list.present()?;
        count.put(of_it().count() as u32)?;
        list.put_all(of_it().map(|instance| handle(gpu_instance_handle(instance))))
    };
    fn nvmlDeviceGetGpuInstanceById(device: nvmlDevice_t, id: u32, instance: *mut nvmlGpuInstance_t) => |call| {
        let view = gpu(call, &device)?;
        view.mig()?;
        instance.present()?;
        let found = view.gpu_instances().find(|instance| instance.id == id).ok_or(Code::NOT_FOUND)?;
        instance.put(handle(gpu_instance_handle(found)))
    };
    fn nvmlGpuInstanceGetInfo(instance: nvmlGpuInstance_t, info: *mut nvmlGpuInstanceInfo_t) => |call| {
        let instance = call.gpu_instance(instance.number())?;
        info.put(nvmlGpuInstanceInfo_t {
            device: handle(call.handle_of(instance.gpu.gpu)),
            id: instance.id,
            profileId: instance.profile.id,
            placement: nvmlGpuInstancePlacement_t { start: instance.made.start, size: instance.profile.size },
        })
    };
}
