//! `nvmlDeviceGetFieldValues`: readings by number, each with its own return code.

use nvml_sim::{Code, FieldValue};
use nvml_wrapper_sys::bindings::*;

use super::{exports, gpu};

const UNSIGNED_INT: nvmlValueType_t = 1;
const UNSIGNED_LONG_LONG: nvmlValueType_t = 3;

exports! {
    fn nvmlDeviceGetFieldValues(device: nvmlDevice_t, count: i32, values: *mut nvmlFieldValue_t) => |call| {
        let view = gpu(call, &device)?;
        let count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or(Code::INVALID_ARGUMENT)?;
        let now = call.snapshot()?.state.clock.now_us();
        for index in 0..count {
            let mut value: nvmlFieldValue_t = values.get_at(index)?;
            value.timestamp = now as i64;
            value.latencyUsec = 0;
            value.nvmlReturn = 0;
            match view.field(value.fieldId, value.scopeId) {
                Ok(FieldValue::UnsignedInt(number)) => {
                    value.valueType = UNSIGNED_INT;
                    // The whole union is set, so that a client that reads the wrong member reads no old bytes.
                    value.value = nvmlValue_t { ullVal: number.into() };
                }
                Ok(FieldValue::UnsignedLongLong(number)) => {
                    value.valueType = UNSIGNED_LONG_LONG;
                    value.value = nvmlValue_t { ullVal: number };
                }
                Err(code) => value.nvmlReturn = code.0,
            }
            values.put_at(index, value)?;
        }
        Ok(())
    };
}
