//! A CDI spec as a value: every field of the format up to version 1.0.0, and nothing else.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use node_host::HostPath;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::check::{self, Nonsense};
use crate::version::Version;

/// A whole spec: one file in a CDI folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// Version of the format.
    pub cdi_version: Version,
    /// What kind of devices it is about.
    pub kind: Kind,
    /// Notes to the reader of the spec.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Devices; at least one.
    pub devices: Vec<Device>,
    /// What a container gets with any of the devices.
    #[serde(default, skip_serializing_if = "ContainerEdits::is_empty")]
    pub container_edits: ContainerEdits,
}

/// The kind of a spec's devices: `VENDOR/CLASS`, such as `gantry.dev/gpu`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Kind(String);

/// A text that is no kind.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{value:?} is not a CDI kind: {rule}")]
pub struct ParseKindError {
    value: String,
    rule: &'static str,
}

/// One device, which a container can ask for by `<kind>=<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Device {
    /// Its name: letters, digits, `_`, `-`, `.` and `:`, with a letter or digit at both ends.
    pub name: String,
    /// Notes to the reader of the spec.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What a container gets with this device.
    pub container_edits: ContainerEdits,
}

/// What a runtime adds to a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ContainerEdits {
    /// Variables, `NAME=VALUE`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Device nodes, each with the right to use it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_nodes: Vec<DeviceNode>,
    /// Programs that the runtime runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<Hook>,
    /// Files and folders of the host.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Settings of Intel's Resource Director.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intel_rdt: Option<IntelRdt>,
    /// Groups that the process joins; 0 is ignored.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub additional_gids: Vec<u32>,
}

/// A device node in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceNode {
    /// Where the container has it.
    pub path: String,
    /// Where the host has it, if not at the same path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_path: Option<HostPath>,
    /// `c`, `b`, `u` or `p`; empty if the runtime shall look.
    #[serde(rename = "type", default, skip_serializing_if = "String::is_empty")]
    pub node_type: String,
    /// Major number; the runtime looks if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub major: Option<i64>,
    /// Minor number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minor: Option<i64>,
    /// Permission bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_mode: Option<u32>,
    /// What the device cgroup allows: some of `r`, `w`, `m`. Empty means all three.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub permissions: String,
    /// Owner in the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Group in the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
}

/// A file or folder of the host in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mount {
    /// Where the host has it.
    pub host_path: HostPath,
    /// Where the container has it.
    pub container_path: String,
    /// Mount options.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Type of the file system; empty for a bind mount.
    #[serde(rename = "type", default, skip_serializing_if = "String::is_empty")]
    pub fs_type: String,
}

/// A program that the runtime runs at some point of a container's life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hook {
    /// When: `createContainer` and the like.
    pub hook_name: String,
    /// The program, on the host.
    pub path: HostPath,
    /// Its arguments, its name included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Its environment, `NAME=VALUE`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Seconds until it is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
}

/// Settings of Intel's Resource Director, as in Linux' resctrl.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct IntelRdt {
    /// Class of service.
    #[serde(rename = "closID", skip_serializing_if = "String::is_empty")]
    pub clos_id: String,
    /// Share of the L3 cache.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub l3_cache_schema: String,
    /// Share of the memory bandwidth.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mem_bw_schema: String,
    /// Whether cache use is watched.
    #[serde(rename = "enableCMT", skip_serializing_if = "std::ops::Not::not")]
    pub enable_cmt: bool,
    /// Whether bandwidth is watched.
    #[serde(rename = "enableMBM", skip_serializing_if = "std::ops::Not::not")]
    pub enable_mbm: bool,
}

/// A text that is no spec.
#[derive(Debug, Error)]
pub enum ParseError {
    /// It is no JSON, or has a field that the format does not know.
    #[error("not a CDI spec in JSON")]
    Json(#[from] serde_json::Error),
    /// It is well formed and means nothing.
    #[error(transparent)]
    Nonsense(#[from] Nonsense),
}

impl Spec {
    /// Reads a spec, and refuses one that a runtime would refuse.
    pub fn parse(text: &[u8]) -> Result<Spec, ParseError> {
        let spec: Spec = serde_json::from_slice(text)?;
        check::check(&spec)?;
        Ok(spec)
    }

    /// The spec as the text of its file.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// All its edits: the common ones, then each device's.
    pub(crate) fn edits(&self) -> impl Iterator<Item = &ContainerEdits> {
        std::iter::once(&self.container_edits)
            .chain(self.devices.iter().map(|device| &device.container_edits))
    }
}

impl ContainerEdits {
    /// Whether they change nothing.
    pub fn is_empty(&self) -> bool {
        *self == ContainerEdits::default()
    }
}

impl DeviceNode {
    /// Where the host has it.
    pub fn on_host(&self) -> &str {
        self.host_path.as_ref().map_or(self.path.as_str(), HostPath::as_str)
    }
}

impl Kind {
    /// The part before the slash.
    pub fn vendor(&self) -> &str {
        self.0.split_once('/').map_or("", |(vendor, _)| vendor)
    }

    /// The part behind the slash.
    pub fn class(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, class)| class)
    }

    /// The whole kind.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The full name of a device, `<kind>=<name>`.
pub fn qualified_name(kind: &Kind, device: &str) -> String {
    format!("{kind}={device}")
}

impl TryFrom<String> for Kind {
    type Error = ParseKindError;

    fn try_from(value: String) -> Result<Self, ParseKindError> {
        match check::broken_kind_rule(&value) {
            None => Ok(Kind(value)),
            Some(rule) => Err(ParseKindError { value, rule }),
        }
    }
}

impl FromStr for Kind {
    type Err = ParseKindError;

    fn from_str(value: &str) -> Result<Self, ParseKindError> {
        value.to_owned().try_into()
    }
}

impl From<Kind> for String {
    fn from(kind: Kind) -> String {
        kind.0
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
