//! Field values: readings by number, each with its own return code.

use std::time::Instant;

use nvml_sim::{Call, Code, FieldValue, GpuView};
use nvml_wrapper_sys::bindings::*;

use super::{exports, gpu};
use crate::from_c::Out;

const UNSIGNED_INT: nvmlValueType_t = 1;
const UNSIGNED_LONG_LONG: nvmlValueType_t = 3;
const SIGNED_INT: nvmlValueType_t = 5;

/// Type and bits of a value. The whole union is set, so that a client that reads the wrong member reads no old bytes.
fn typed(value: FieldValue) -> (nvmlValueType_t, nvmlValue_t) {
    match value {
        FieldValue::UnsignedInt(number) => (UNSIGNED_INT, nvmlValue_t { ullVal: number.into() }),
        FieldValue::UnsignedLongLong(number) => (UNSIGNED_LONG_LONG, nvmlValue_t { ullVal: number }),
        FieldValue::SignedInt(number) => {
            (SIGNED_INT, nvmlValue_t { ullVal: u64::from(number.cast_unsigned()) })
        }
    }
}

/// Goes through the caller's fields; each one's failure is its own.
fn each(
    call: &Call<'_>,
    device: &Out<nvmlDevice_st>,
    count: i32,
    values: &Out<nvmlFieldValue_t>,
    does: impl Fn(GpuView<'_>, &mut nvmlFieldValue_t) -> Result<(), Code>,
) -> Result<(), Code> {
    let view = gpu(call, device)?;
    let count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or(Code::INVALID_ARGUMENT)?;
    let now = call.snapshot()?.state.clock.now_us();
    for index in 0..count {
        let mut value: nvmlFieldValue_t = values.get_at(index)?;
        let begun = Instant::now();
        value.timestamp = now as i64;
        value.nvmlReturn = does(view, &mut value).map_or_else(|code| code.0, |()| 0);
        value.latencyUsec = begun.elapsed().as_micros() as i64;
        values.put_at(index, value)?;
    }
    Ok(())
}

exports! {
    fn nvmlDeviceGetFieldValues(device: nvmlDevice_t, count: i32, values: *mut nvmlFieldValue_t) => |call| {
        each(call, &device, count, &values, |view, field| {
            (field.valueType, field.value) = typed(view.field(field.fieldId, field.scopeId)?);
            Ok(())
        })
    };
    fn nvmlDeviceClearFieldValues(device: nvmlDevice_t, count: i32, values: *mut nvmlFieldValue_t) => |call| {
        each(call, &device, count, &values, |view, field| {
            call.library.clear_field(view, field.fieldId, field.scopeId)
        })
    };
}
