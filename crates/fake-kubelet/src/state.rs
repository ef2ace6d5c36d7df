//! What the fake shows of its books, and what it is asked for: plain data, the same in process and as JSON.

use std::{
    collections::BTreeMap, collections::BTreeSet, convert::Infallible, fmt, path::PathBuf, str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::injection::Injection;

/// Everything that the fake knows, at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The plugin folder.
    pub dir: PathBuf,
    /// Whether the kubelet runs; a stopped one shows what it knew last.
    pub running: bool,
    /// How often it was started.
    pub starts: u64,
    /// Every resource that was ever registered.
    pub resources: BTreeMap<String, ResourceState>,
    /// Every pod that was admitted and not released.
    pub pods: Vec<PodState>,
}

/// One resource as the node's status and the device manager see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceState {
    /// Devices that the node has, healthy or not.
    pub capacity: usize,
    /// Devices that are healthy, given away or not.
    pub allocatable: usize,
    /// Sockets whose stream is alive.
    pub endpoints: Vec<String>,
    /// The devices of the last list; empty when the resource is unknown or was forgotten.
    pub devices: Vec<DeviceState>,
}

/// One device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceState {
    /// The plugin's id.
    pub id: String,
    /// Whether the kubelet takes it for healthy: said so by the plugin, whose stream is alive.
    pub healthy: bool,
    /// What the plugin said last.
    pub reported: String,
    /// NUMA nodes.
    pub numa: Vec<i64>,
    /// Who holds it, as `namespace/pod/container`.
    pub held_by: Option<String>,
}

/// One pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodState {
    /// Its name.
    pub pod: PodName,
    /// What its containers hold.
    pub holdings: Vec<Holding>,
}

/// What one container holds of one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// The container.
    pub container: String,
    /// The resource.
    pub resource: String,
    /// Device ids, sorted.
    pub devices: Vec<String>,
    /// The plugin's answer, which each start of the container reuses.
    pub injection: Injection,
}

/// A pod's namespace and name; parses from `namespace/name`, or from `name` in namespace `default`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct PodName {
    /// Namespace.
    pub namespace: String,
    /// Name within the namespace.
    pub name: String,
}

/// Never happens: every text names a pod.
pub type PodNameError = Infallible;

impl From<&str> for PodName {
    fn from(text: &str) -> Self {
        let (namespace, name) = text.split_once('/').unwrap_or(("default", text));
        PodName { namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl From<String> for PodName {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<PodName> for String {
    fn from(pod: PodName) -> Self {
        pod.to_string()
    }
}

impl FromStr for PodName {
    type Err = PodNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.into())
    }
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A container of a pod that asks for devices.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PodRequest {
    /// The pod; the same name again means the same pod.
    pub pod: PodName,
    /// The container; the same name again means a new admission of it, as after a reboot of the node.
    pub container: String,
    /// An init container, whose devices its pod's later containers reuse. Admitted before them.
    #[serde(default)]
    pub init: bool,
    /// The resource.
    pub resource: String,
    /// How many devices.
    pub count: usize,
    /// NUMA nodes that the topology manager chose; `None` as under its policy `none`.
    #[serde(default)]
    pub numa: Option<BTreeSet<i64>>,
}

impl PodRequest {
    /// A plain container without NUMA alignment.
    pub fn new(pod: impl Into<PodName>, container: &str, resource: &str, count: usize) -> Self {
        PodRequest {
            pod: pod.into(),
            container: container.to_owned(),
            init: false,
            resource: resource.to_owned(),
            count,
            numa: None,
        }
    }
}
