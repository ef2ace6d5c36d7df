//! Major and minor version of a runtime, as far as a rule needs them.

use std::fmt;

/// Major and minor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(pub(super) u32, pub(super) u32);

impl Version {
    /// The version at the beginning of `text`, with or without a `v`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().trim_start_matches('v').split('.');
        let major = parts.next()?.parse().ok()?;
        let minor: String = parts.next()?.chars().take_while(char::is_ascii_digit).collect();
        Some(Self(major, minor.parse().ok()?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_read_in_every_form_that_runtimes_print() {
        for (text, expected) in [
            ("2.4.2", Some(Version(2, 4))),
            ("v1.7.28", Some(Version(1, 7))),
            ("1.31.2-1.el9", Some(Version(1, 31))),
            ("2.1-dev", Some(Version(2, 1))),
            ("2.2.0+k3s1", Some(Version(2, 2))),
            ("unknown", None),
            ("2", None),
            ("", None),
        ] {
            assert_eq!(Version::parse(text), expected, "{text}");
        }
    }
}
