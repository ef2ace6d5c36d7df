//! The device plugin as deployed: with which components and config, and what is done to it alone.

use std::fs;

use anyhow::{Context, Result};
use rustix::net::{Shutdown, shutdown};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use serde_json::Value;

use crate::daemon::{NAMESPACE, PLUGIN};
use crate::kustomization::Kustomization;
use crate::node::{Node, workspace};

const OVERLAY: &str = "manifests/overlays/simulated";

/// Applies the manifests as shipped, with the simulated driver's overlay.
pub fn deploy(node: &Node) -> Result<()> {
    let overlay = workspace().join(OVERLAY);
    node.kubectl.run(&["apply", "--kustomize", &overlay.to_string_lossy()]).map(drop)
}

/// The deployed plugin with components of the manifests added, until it goes out of scope.
pub struct With<'a> {
    node: &'a Node,
    kustomization: Kustomization,
}

/// Deploys the plugin with these components, as a person's own kustomization does.
pub fn deploy_with<'a>(node: &'a Node, components: &[&str]) -> Result<With<'a>> {
    let kustomization = Kustomization::write("e2e-kustomization", OVERLAY, components, None)?;
    let with = With { node, kustomization };
    with.kustomization.apply(node)?;
    Ok(with)
}

impl Drop for With<'_> {
    fn drop(&mut self) {
        // A variable or a volume that a component added goes with the DaemonSet alone. Which GPUs are well is left to whoever
        // mends the driver.
        let restored = PLUGIN.remove(self.node).and_then(|()| deploy(self.node)).and_then(|()| {
            self.node.wait_until_fresh("some GPUs allocatable", |_, allocatable| allocatable > 0)
        });
        if let Err(error) = restored {
            eprintln!("deploy the plugin without components: {error:#}");
        }
    }
}

/// Removes what the plugin keeps of the GPUs' health: a new simulated driver proves no reset. The plugin must not run.
pub fn forget_health(node: &Node) -> Result<()> {
    let kept = node.cluster().host_path("/var/lib/gantry/device-plugin/health.json");
    match fs::remove_file(&kept) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", kept.display()))
        }
        _ => Ok(()),
    }
}

/// Deletes the pod and waits until the DaemonSet has started another one that is registered.
pub fn replace(node: &Node) -> Result<()> {
    let before = node.registrations()?;
    node.kubectl.delete(&["pods", NAMESPACE, &PLUGIN.selector()])?;
    node.wait_for_registration_after(before)
}

/// Cuts every connection to the plugin's sockets, as a proxy between it and the kubelet does that dies. Returns how many
/// there were.
pub fn cut_connections(node: &Node, pod: &Value) -> Result<usize> {
    let process = PLUGIN.process(node, pod)?;
    // Num RefCount Protocol Flags Type St Inode Path; 03 is connected, and an accepted socket has its listener's path. It
    // stands in the table of the network namespace of who connected: the kubelet's.
    let table =
        node.cluster().enter("cat").arg("/proc/self/net/unix").output().context("the node's sockets")?;
    let table = String::from_utf8_lossy(&table.stdout);
    let connected: Vec<String> = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words| words.len() == 8 && words[5] == "03" && words[7].contains("/gantry-"))
        .map(|words| format!("socket:[{}]", words[6]))
        .collect();
    let handle =
        pidfd_open(Pid::from_raw(i32::try_from(process)?).context("process 0")?, PidfdFlags::empty())?;
    let mut cut = 0;
    for entry in fs::read_dir(format!("/proc/{process}/fd")).context("its descriptors")? {
        let entry = entry?;
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        if connected.iter().any(|socket| target.as_os_str() == socket.as_str()) {
            let number = entry.file_name().to_string_lossy().parse()?;
            let socket = pidfd_getfd(&handle, number, PidfdGetfdFlags::empty()).context("its socket")?;
            shutdown(&socket, Shutdown::Both).context("shut its socket down")?;
            cut += 1;
        }
    }
    Ok(cut)
}
