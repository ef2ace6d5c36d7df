//! Field values.

use super::*;

/// One more than the highest field number of NVML 13.
const FIELDS_END: u32 = 310;

impl Sweep<'_> {
    /// Every field that has a value.
    pub(super) fn fields(&mut self) {
        let mut values: Vec<nvmlFieldValue_t> = (1..FIELDS_END)
            .map(|field| {
                let mut value: nvmlFieldValue_t = zeroed();
                value.fieldId = field;
                value
            })
            .collect();
        ask!(self, nvmlDeviceGetFieldValues, |f| {
            let code = f(self.gpu, values.len() as i32, values.as_mut_ptr());
            let known = values.iter().filter(|value| value.nvmlReturn == 0);
            let answer = known.map(|value| {
                assert_eq!(value.timestamp, NOW_US as i64);
                (format!("{:03}", value.fieldId), json!([value.valueType, value.value.ullVal]))
            });
            (code, answer.collect())
        });
    }
}
