//! Keys and values of labels that are valid whatever they are made of, and the sheet on which labelers write them.
//!
//! The rules for both are those of Kubernetes: at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at
//! both ends; a value may be empty; a key has a DNS domain before it.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;

use super::Labelled;

/// Most characters of a value, and of a key's name.
const LONGEST: usize = 63;

/// Characters of a hash behind what it stands for, its `-` included.
const HASH: usize = 9;

/// What is left at least of a name before its suffix; below that the whole text is shortened.
const SHORTEST_NAME: usize = 8;

/// A label's key, which is always valid.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelKey(String);

/// A label's value, which is always valid.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelValue(String);

/// Labels by key.
pub type Labels = BTreeMap<LabelKey, LabelValue>;

impl LabelKey {
    /// A key of one of our two domains; none if the part behind it is not valid.
    pub fn new(key: &str) -> Option<Self> {
        let (domain, name) = key.split_once('/')?;
        let is_ours = [gpu_model::names::NVIDIA_DOMAIN, gpu_model::names::GANTRY_DOMAIN].contains(&domain);
        (is_ours && !name.is_empty() && is_valid(name)).then(|| Self(key.to_owned()))
    }

    /// The whole key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for LabelKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl LabelValue {
    /// A value that says what `text` says: without characters that no value has, blanks as `-`, and no longer than a
    /// value may be. Where that loses all of a text, or its end, a hash of it tells it from others.
    pub fn text(text: &str) -> Self {
        Self(shortened(text, LONGEST))
    }

    /// `text` and a suffix behind it. Where both are too long together, the text is shortened, since a suffix tells
    /// profile and sharing.
    pub fn with_suffix(text: &str, suffix: &str) -> Self {
        let suffix = sanitised(suffix);
        match LONGEST.checked_sub(suffix.len()) {
            Some(room) if room >= SHORTEST_NAME + HASH => {
                Self(trimmed(&format!("{}{suffix}", shortened(text, room))))
            }
            _ => Self::text(&format!("{text}{suffix}")),
        }
    }

    /// A number.
    pub fn number(number: impl Into<u64>) -> Self {
        Self(number.into().to_string())
    }

    /// `true` or `false`.
    pub fn flag(is: bool) -> Self {
        Self(is.to_string())
    }

    /// The value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LabelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for LabelValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where labelers write.
#[derive(Debug, Default)]
pub(super) struct Sheet(Labelled);

impl Sheet {
    /// Writes a label, over one that is there. A key that no label can have is told instead.
    pub fn put(&mut self, key: &str, value: LabelValue) {
        match LabelKey::new(key) {
            Some(key) => {
                self.0.labels.insert(key, value);
            }
            None => self.remark(format!("there is no label {key:?}: no label can be called so")),
        }
    }

    /// Tells what a person should know.
    pub fn remark(&mut self, text: String) {
        self.0.remarks.push(text);
    }

    pub fn into_labelled(self) -> Labelled {
        self.0
    }
}

/// Whether a label may have this value. An empty one it may have.
fn is_valid(text: &str) -> bool {
    let is_edge = |byte: Option<u8>| byte.is_none_or(|byte| byte.is_ascii_alphanumeric());
    text.len() <= LONGEST
        && text.bytes().all(is_label_byte)
        && is_edge(text.bytes().next())
        && is_edge(text.bytes().last())
}

fn is_label_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// As NVIDIA's gpu-feature-discovery does it: other characters are left out, and blanks between words become `-`.
fn sanitised(text: &str) -> String {
    let kept: String =
        text.chars().filter(|sign| *sign == ' ' || u8::try_from(*sign).is_ok_and(is_label_byte)).collect();
    kept.split_whitespace().collect::<Vec<_>>().join("-")
}

fn trimmed(text: &str) -> String {
    text.trim_matches(|sign: char| !sign.is_ascii_alphanumeric()).to_owned()
}

/// The text as a value of at most `most` characters, which are no fewer than a hash and one more.
pub(super) fn shortened(text: &str, most: usize) -> String {
    let plain = trimmed(&sanitised(text));
    if plain.is_empty() && !text.trim().is_empty() {
        return format!("x{:08x}", fnv1a(text));
    }
    if plain.len() <= most {
        return plain;
    }
    let kept = trimmed(&plain[..most - HASH]);
    format!("{kept}-{:08x}", fnv1a(text))
}

/// The hash FNV-1a of 32 bits (Fowler, Noll and Vo; RFC 9923): small, and the same in every release and on every machine.
fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn value_keeps_what_nvidias_keeps_and_drops_what_no_value_has() {
        for (text, value) in [
            ("NVIDIA A100-SXM4-80GB", "NVIDIA-A100-SXM4-80GB"),
            ("NVIDIA TITAN X (Pascal)", "NVIDIA-TITAN-X-Pascal"),
            ("X9SRA/X9SRA-3", "X9SRAX9SRA-3"),
            ("  two   blanks ", "two-blanks"),
            ("line\nbreak\ttab", "linebreaktab"),
            // Of no use to a cluster: NVIDIA's leaves the dot, and the label is refused.
            ("To be filled by O.E.M.", "To-be-filled-by-O.E.M"),
            ("-(x)-", "x"),
            ("", ""),
            (" ", ""),
            // Nothing would be left.
            ("😀", "x33a29608"),
        ] {
            assert_eq!(LabelValue::text(text).as_str(), value, "{text:?}");
        }
    }

    #[test]
    fn value_that_is_too_long_keeps_its_suffix_and_ends_the_name_in_a_hash() {
        let name = "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition";
        assert_eq!(
            LabelValue::with_suffix(name, "-MIG-1g.24gb").as_str(),
            "NVIDIA-RTX-PRO-6000-Blackwell-Max-Q-Workst-fe99de15-MIG-1g.24gb"
        );
        assert_eq!(LabelValue::with_suffix(name, "-SHARED").as_str().len(), 62, "it fits");
        let long = "-MIG-4294967295c.4294967295g.4294967295gb.me.all-SHARED";
        assert!(LabelValue::with_suffix(name, long).as_str().starts_with("NVIDIA-RTX-PRO-6000"));
    }

    #[test]
    fn hash_is_the_published_one() {
        // Test vectors of RFC 9923.
        assert_eq!((fnv1a(""), fnv1a("a"), fnv1a("foobar")), (0x811c_9dc5, 0xe40c_292c, 0xbf9c_f968));
    }

    #[test]
    fn key_of_another_domain_or_of_no_valid_name_is_none() {
        for key in ["gpu.count", "nvidia.com/", "nvidia.com/gpu.", "example.com/gpu", "nvidia.com/a/b"] {
            assert_eq!(LabelKey::new(key), None, "{key}");
        }
        assert!(LabelKey::new("gantry.dev/gpu.ecc").is_some());
    }

    proptest! {
        #[test]
        fn value_of_any_text_and_suffix_is_valid(text: String, suffix in "-[a-zA-Z0-9.+]{0,70}") {
            for value in [LabelValue::text(&text), LabelValue::with_suffix(&text, &suffix)] {
                prop_assert!(is_valid(value.as_str()), "{value:?}");
                prop_assert!(!value.as_str().is_empty() || text.trim().is_empty());
            }
        }

        #[test]
        fn values_of_long_texts_that_differ_at_their_end_differ(text in "[a-z ]{63,300}", end in "[a-y]{1,9}") {
            prop_assert_ne!(LabelValue::text(&text), LabelValue::text(&format!("{text}{end}z")));
        }
    }
}
