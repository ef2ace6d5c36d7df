//! One look at a node: what each source said, and what was true meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Device ids by resource.
pub type Ids = BTreeMap<String, BTreeSet<String>>;

/// What the sources said. A source that did not answer said nothing. They are asked in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The ids that the kubelet takes for healthy.
    pub allocatable: Option<Ids>,
    /// What the kubelet says that each container holds, by `pod/container`.
    pub held: Option<BTreeMap<String, Ids>>,
    /// How much of each resource the node's status calls allocatable.
    pub status: Option<BTreeMap<String, usize>>,
    /// The states of each GPU in the plugin's metrics; see [`gpu_states`].
    pub states: Option<BTreeMap<String, BTreeSet<String>>>,
    /// The containers that there are, by `pod/container`.
    pub containers: Option<BTreeMap<String, Container>>,
}

/// A container, as far as it can be disturbed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// What changes when it is started anew.
    pub id: String,
    /// How far it is.
    pub progress: Progress,
}

/// How far a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It does not run yet.
    Waiting,
    /// It runs.
    Running,
    /// It did its work and ended.
    Succeeded,
    /// It ended otherwise.
    Failed,
}

/// One look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// When it began, since the first one.
    pub at: Duration,
    /// What was said.
    pub seen: Seen,
    /// The devices that were broken during all of it, each with the number of the break: another one after a repair.
    pub broken: BTreeMap<String, u64>,
    /// Pods that the test itself was ending at some time during it or since the one before.
    pub ending: BTreeSet<String>,
}

/// The states of each GPU in a page of the device plugin's metrics. Those of GPU instances are left out.
pub fn gpu_states(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut states: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in page.lines() {
        let Some(labels) = line.strip_prefix("gantry_device_plugin_gpu_health{") else { continue };
        let label = |name: &str| {
            let (_, rest) = labels.split_once(&format!("{name}=\""))?;
            rest.split_once('"').map(|(value, _)| value.to_owned())
        };
        if let (Some(gpu), Some(""), Some(state)) =
            (label("gpu"), label("gpu_instance").as_deref(), label("state"))
        {
            states.entry(gpu).or_default().insert(state);
        }
    }
    states
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_those_of_whole_gpus() {
        let page = "# TYPE gantry_device_plugin_gpu_health gauge\n\
            gantry_device_plugin_gpu_health{gpu=\"GPU-1\",gpu_instance=\"\",reason=\"\",state=\"healthy\"} 1\n\
            gantry_device_plugin_gpu_health{gpu=\"GPU-2\",gpu_instance=\"\",reason=\"xid-79\",state=\"unhealthy\"} 1\n\
            gantry_device_plugin_gpu_health{gpu=\"GPU-2\",gpu_instance=\"1\",reason=\"\",state=\"healthy\"} 1\n\
            gantry_device_plugin_devices{health=\"healthy\",resource=\"nvidia.com/gpu\"} 1\n";
        let one = |state: &str| BTreeSet::from([state.to_owned()]);
        let expected =
            BTreeMap::from([("GPU-1".to_owned(), one("healthy")), ("GPU-2".to_owned(), one("unhealthy"))]);
        assert_eq!(gpu_states(page), expected);
    }
}
