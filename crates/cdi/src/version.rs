//! Versions of the CDI format, and which of them first knew what.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::spec::{ContainerEdits, Spec};

/// A released version of the format, oldest first.
///
/// What each added (`SPEC.md`, "Released versions", and `specs-go/version.go` of
/// cncf-tags/container-device-interface): 0.4.0 a mount's `type`; 0.5.0 a device node's `hostPath`, and device
/// names that begin with a digit; 0.6.0 annotations, and dots in the class; 0.7.0 `intelRdt` and
/// `additionalGids`; 0.8.0 and 1.0.0 nothing in the format. Runtimes refuse versions that they do not know,
/// so a spec states the lowest that suffices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[expect(missing_docs, reason = "the names are the versions")]
pub enum Version {
    V0_3_0,
    V0_4_0,
    V0_5_0,
    V0_6_0,
    V0_7_0,
    V0_8_0,
    V1_0_0,
}

/// A version that does not exist, or is newer than this crate.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{0:?} is not a CDI version known here: expected one of 0.3.0, 0.4.0, 0.5.0, 0.6.0, 0.7.0, 0.8.0, 1.0.0"
)]
pub struct ParseVersionError(String);

const ALL: [(Version, &str); 7] = [
    (Version::V0_3_0, "0.3.0"),
    (Version::V0_4_0, "0.4.0"),
    (Version::V0_5_0, "0.5.0"),
    (Version::V0_6_0, "0.6.0"),
    (Version::V0_7_0, "0.7.0"),
    (Version::V0_8_0, "0.8.0"),
    (Version::V1_0_0, "1.0.0"),
];

impl Spec {
    /// The lowest version that knows everything this spec uses, whatever version it states.
    pub fn lowest_version(&self) -> Version {
        let annotated =
            !self.annotations.is_empty() || self.devices.iter().any(|device| !device.annotations.is_empty());
        let digit_first =
            self.devices.iter().any(|device| !device.name.starts_with(|c: char| c.is_ascii_alphabetic()));
        let mut lowest = Version::V0_3_0;
        if digit_first {
            lowest = lowest.max(Version::V0_5_0);
        }
        if annotated || self.kind.class().contains('.') {
            lowest = lowest.max(Version::V0_6_0);
        }
        self.edits().map(lowest_for).fold(lowest, Version::max)
    }
}

fn lowest_for(edits: &ContainerEdits) -> Version {
    if edits.intel_rdt.is_some() || !edits.additional_gids.is_empty() {
        Version::V0_7_0
    } else if edits.device_nodes.iter().any(|node| node.host_path.is_some()) {
        Version::V0_5_0
    } else if edits.mounts.iter().any(|mount| !mount.fs_type.is_empty()) {
        Version::V0_4_0
    } else {
        Version::V0_3_0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ALL.iter().find(|(version, _)| version == self).map_or("", |(_, text)| text))
    }
}

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, ParseVersionError> {
        let found = ALL.iter().find(|(_, known)| *known == text).map(|(version, _)| *version);
        found.ok_or_else(|| ParseVersionError(text.to_owned()))
    }
}

impl TryFrom<String> for Version {
    type Error = ParseVersionError;

    fn try_from(text: String) -> Result<Self, ParseVersionError> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> String {
        version.to_string()
    }
}
