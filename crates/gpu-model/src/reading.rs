//! One answer of the driver, which may also be "not supported" or a failure.

use serde::{Deserialize, Serialize};

/// What came of asking the driver for one value.
///
/// An `Option` would make "this GPU has no such thing" and "the call failed" the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading<T> {
    /// The driver gave a value.
    Value(T),
    /// This GPU or this driver has no such value.
    NotSupported,
    /// The call failed.
    Failed {
        /// The C function that failed, such as `nvmlDeviceGetMemoryInfo_v2`.
        call: String,
        /// The C return code, as in `nvmlReturn_t`, or one of [`crate::failure`].
        code: u32,
    },
}

impl<T> Reading<T> {
    /// The value, if there is one.
    pub fn value(&self) -> Option<&T> {
        match self {
            Reading::Value(value) => Some(value),
            Reading::NotSupported | Reading::Failed { .. } => None,
        }
    }

    /// The same outcome over another type.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Reading<U> {
        match self {
            Reading::Value(value) => Reading::Value(change(value)),
            Reading::NotSupported => Reading::NotSupported,
            Reading::Failed { call, code } => Reading::Failed { call, code },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_that_failed_has_no_value_and_keeps_call_and_code_through_map() {
        let failed: Reading<u32> = Reading::Failed { call: "nvmlDeviceGetPowerUsage".into(), code: 15 };
        assert_eq!(failed.value(), None);
        assert_eq!(
            failed.clone().map(u64::from),
            Reading::Failed { call: "nvmlDeviceGetPowerUsage".into(), code: 15 }
        );
    }
}
