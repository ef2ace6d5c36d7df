//! Identities that the driver gives to GPUs and MIG devices, as it prints them.
//!
//! They are compared as text: two spellings of one UUID never come from one driver.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The UUID of a physical GPU: `GPU-` and 36 characters of a lower-case UUID.
///
/// It is stable across reboots, and the id under which the kubelet knows the GPU.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GpuUuid(String);

/// The UUID of a MIG device: `MIG-` and 36 characters of a lower-case UUID (drivers from R470 on).
///
/// It lives as long as the compute instance that it names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MigUuid(String);

/// A text that is no UUID of the expected kind.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{value:?} is not a {kind} UUID: expected {kind}-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx in lower-case hex digits"
)]
pub struct ParseUuidError {
    kind: &'static str,
    value: String,
}

impl GpuUuid {
    /// The UUID as the driver prints it, `GPU-` included.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl MigUuid {
    /// The UUID as the driver prints it, `MIG-` included.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether `text` is `8-4-4-4-12` lower-case hex digits.
fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

fn parse(kind: &'static str, value: String) -> Result<String, ParseUuidError> {
    let digits = value.strip_prefix(kind).and_then(|rest| rest.strip_prefix('-'));
    if digits.is_some_and(is_uuid) { Ok(value) } else { Err(ParseUuidError { kind, value }) }
}

macro_rules! uuid_text {
    ($name:ident, $kind:literal) => {
        impl TryFrom<String> for $name {
            type Error = ParseUuidError;

            fn try_from(value: String) -> Result<Self, ParseUuidError> {
                parse($kind, value).map($name)
            }
        }

        impl FromStr for $name {
            type Err = ParseUuidError;

            fn from_str(value: &str) -> Result<Self, ParseUuidError> {
                value.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(uuid: $name) -> String {
                uuid.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

uuid_text!(GpuUuid, "GPU");
uuid_text!(MigUuid, "MIG");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGITS: &str = "4cf8db2d-06c0-7d70-1a51-e59b25b2c16c";

    #[test]
    fn gpu_uuid_as_the_driver_prints_it_parses_and_prints_back() {
        let text = format!("GPU-{DIGITS}");
        assert_eq!(text.parse::<GpuUuid>().unwrap().to_string(), text);
    }

    #[test]
    fn gpu_uuid_of_another_shape_is_refused_with_the_value_in_the_message() {
        for text in [
            "",
            "GPU-",
            DIGITS,
            &format!("MIG-{DIGITS}"),
            &format!("GPU-{DIGITS}0"),
            &format!("GPU-{}", DIGITS.to_uppercase()),
        ] {
            let error = text.parse::<GpuUuid>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn mig_uuid_in_json_is_checked() {
        assert!(serde_json::from_str::<MigUuid>(&format!("\"MIG-{DIGITS}\"")).is_ok());
        assert!(serde_json::from_str::<MigUuid>("\"MIG-GPU-1/2/3\"").is_err());
    }

    proptest! {
        #[test]
        fn uuid_of_any_digits_survives_the_round_trip(a: u32, b: u16, c: u16, d: u16, e in 0u64..1 << 48) {
            let text = format!("MIG-{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}");
            prop_assert_eq!(text.parse::<MigUuid>().unwrap().to_string(), text);
        }

        #[test]
        fn uuid_parser_given_any_text_never_panics(text: String) {
            let _ = text.parse::<GpuUuid>();
        }
    }
}
