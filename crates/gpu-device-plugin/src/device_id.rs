//! The ids that the kubelet knows devices by: a unit's UUID, or `<uuid>::<n>` for its nth share. Pure text.

use std::fmt;

/// What stands between a unit and the number of its share, as in NVIDIA's device plugin.
const SHARE: &str = "::";

/// An id, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceId<'a> {
    /// UUID of the GPU or MIG device.
    pub unit: &'a str,
    /// The share, from 0; none for a device that is not shared.
    pub share: Option<u32>,
}

impl<'a> DeviceId<'a> {
    /// Takes an id apart. A number that would be written otherwise is none.
    pub fn parse(text: &'a str) -> Option<Self> {
        let Some((unit, number)) = text.split_once(SHARE) else {
            return Some(DeviceId { unit: text, share: None });
        };
        let is_plain =
            number.bytes().all(|byte| byte.is_ascii_digit()) && (number == "0" || !number.starts_with('0'));
        let share = number.parse().ok().filter(|_| is_plain)?;
        Some(DeviceId { unit, share: Some(share) })
    }
}

impl fmt::Display for DeviceId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.unit)?;
        self.share.map_or(Ok(()), |share| write!(f, "{SHARE}{share}"))
    }
}

#[cfg(test)]
mod tests {
    use corpus::Corpus;
    use proptest::prelude::*;

    use super::*;

    /// Pieces of ids, and what may be taken for some.
    const PIECES: [&[u8]; 9] =
        [b"::", b":", b"0", b"-1", b"+1", b"4294967296", b"GPU-", b"\0", "\u{663}".as_bytes()];

    proptest! {
        #[test]
        fn id_that_parses_prints_back(text in "[A-Z]{0,3}[-0-9a-f]{0,8}(::[0-9+ ]{0,12})?") {
            if let Some(id) = DeviceId::parse(&text) {
                prop_assert_eq!(id.to_string(), text);
            }
        }

        #[test]
        fn any_text_is_taken(text: String) {
            let _ = DeviceId::parse(&text);
        }
    }

    // A container would get another share, or the kubelet's books would have one device twice.
    #[test]
    fn corpus_of_device_ids_and_what_is_made_of_it_is_read_as_it_is_written() {
        let package = env!("CARGO_MANIFEST_DIR");
        Corpus { package, name: "device-ids", pieces: &PIECES }.strike(|bytes| {
            let Ok(text) = std::str::from_utf8(bytes) else { return };
            for line in text.lines() {
                if let Some(id) = DeviceId::parse(line) {
                    assert_eq!(id.to_string(), line);
                    assert!(!id.unit.contains(SHARE) && id.share.is_some() == line.contains(SHARE), "{id:?}");
                }
            }
        });
    }

    #[test]
    fn share_that_is_no_plain_number_is_none() {
        assert_eq!(DeviceId::parse("GPU-1::12"), Some(DeviceId { unit: "GPU-1", share: Some(12) }));
        for wrong in ["GPU-1::", "GPU-1::01", "GPU-1::+1", "GPU-1::1::2", "GPU-1::4294967296"] {
            assert_eq!(DeviceId::parse(wrong), None, "{wrong}");
        }
    }
}
