//! Licences of vGPU software: a machine without it has none.

use std::mem::offset_of;

use nvml_sim::{Call, Code};
use nvml_wrapper_sys::bindings::*;

use super::{exports, gpu};
use crate::from_c::Out;

/// All versions of the struct begin alike; older ones have shorter features, of which there are none.
const BEGINNING: usize = offset_of!(nvmlGridLicensableFeatures_t, gridLicensableFeatures);
const _: () = assert!(BEGINNING == 8);

fn none(
    call: &Call<'_>,
    device: &Out<nvmlDevice_st>,
    features: &Out<nvmlGridLicensableFeatures_t>,
) -> Result<(), Code> {
    gpu(call, device)?;
    features.put_two(0_i32, 0_u32)
}

exports! {
    fn nvmlDeviceGetGridLicensableFeatures(
        device: nvmlDevice_t, features: *mut nvmlGridLicensableFeatures_t
    ) => |call| none(call, &device, &features);
    fn nvmlDeviceGetGridLicensableFeatures_v2(
        device: nvmlDevice_t, features: *mut nvmlGridLicensableFeatures_t
    ) => |call| none(call, &device, &features);
    fn nvmlDeviceGetGridLicensableFeatures_v3(
        device: nvmlDevice_t, features: *mut nvmlGridLicensableFeatures_t
    ) => |call| none(call, &device, &features);
    fn nvmlDeviceGetGridLicensableFeatures_v4(
        device: nvmlDevice_t, features: *mut nvmlGridLicensableFeatures_t
    ) => |call| none(call, &device, &features);
}
