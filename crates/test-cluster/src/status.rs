//! What runs, for people and for programs.

use std::fmt;
use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use crate::cluster::{Cluster, components};
use crate::kubelet::KubeletRelease;
use crate::layout::{Layout, NODE_NAME};

/// A cluster's state.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    name: String,
    up: bool,
    /// The node's Ready condition, or why it is not known.
    node: String,
    kubeconfig: Option<PathBuf>,
    components: Vec<ComponentStatus>,
}

#[derive(Debug, Serialize)]
struct ComponentStatus {
    name: &'static str,
    running: bool,
    /// The process id in the node.
    pid: Option<u32>,
    log: PathBuf,
}

impl Status {
    /// Looks at the cluster `name`.
    pub(crate) fn of(name: &str) -> Result<Self> {
        let layout = Layout::new(name)?;
        let cluster = Cluster::find(name)?;
        let components = components(KubeletRelease::default()).map(|component| {
            let process = cluster.as_ref().and_then(|cluster| {
                let process = cluster.state.components.get(component.name)?;
                process.lives(&cluster.node.proc()).then_some(*process)
            });
            ComponentStatus {
                name: component.name,
                running: process.is_some(),
                pid: process.map(|process| process.pid),
                log: layout.log(component.name),
            }
        });
        Ok(Self {
            name: name.to_owned(),
            up: cluster.is_some() && components.iter().all(|component| component.running),
            node: cluster.as_ref().map_or_else(|| "no cluster".to_owned(), node_condition),
            kubeconfig: cluster.as_ref().map(Cluster::kubeconfig),
            components: components.into(),
        })
    }

    /// True when all of it runs.
    pub(crate) fn is_up(&self) -> bool {
        self.up
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<26} {:<9} {:>6}  LOG", "COMPONENT", "STATE", "PID")?;
        for component in &self.components {
            let state = if component.running { "running" } else { "stopped" };
            let pid = component.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
            writeln!(f, "{:<26} {state:<9} {pid:>6}  {}", component.name, component.log.display())?;
        }
        writeln!(f, "node {NODE_NAME}: {}", self.node)?;
        if let Some(kubeconfig) = &self.kubeconfig {
            writeln!(f, "kubeconfig (in the node's network): {}", kubeconfig.display())?;
        }
        Ok(())
    }
}

fn node_condition(cluster: &Cluster) -> String {
    let path =
        r#"--output=jsonpath={range .status.conditions[?(@.type=="Ready")]}Ready={.status}: {.message}{end}"#;
    match cluster.kubectl().run(&["--request-timeout=5s", "get", "node", NODE_NAME, path]) {
        Ok(condition) => condition,
        Err(error) => error.to_string(),
    }
}
