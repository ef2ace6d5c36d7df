//! The state as tables for people. Text in, text out.

use std::fmt::Write as _;

use crate::{admission::Allocation, align::align, injection::Injection, state::State};

/// Resources, devices and pods, one table each.
pub fn state(state: &State) -> String {
    let mut text = String::new();
    if !state.running {
        text.push_str("The kubelet is stopped; this is what it knew last.\n\n");
    }
    let rows = state.resources.iter().map(|(name, resource)| {
        vec![
            name.clone(),
            resource.capacity.to_string(),
            resource.allocatable.to_string(),
            resource.devices.iter().filter(|device| device.held_by.is_some()).count().to_string(),
            none_as_dash(resource.endpoints.join(",")),
        ]
    });
    text.push_str(&table(&["RESOURCE", "CAPACITY", "ALLOCATABLE", "HELD", "PLUGIN"], rows));
    for (name, resource) in state.resources.iter().filter(|(_, resource)| !resource.devices.is_empty()) {
        let _ = writeln!(text, "\n{name}");
        let rows = resource.devices.iter().map(|device| {
            let health = match (device.healthy, device.reported.as_str()) {
                (false, "Healthy") => "Unhealthy (plugin gone)",
                (_, reported) => reported,
            };
            vec![
                device.id.clone(),
                health.to_owned(),
                none_as_dash(device.numa.iter().map(i64::to_string).collect::<Vec<_>>().join(",")),
                none_as_dash(device.held_by.clone().unwrap_or_default()),
            ]
        });
        text.push_str(&table(&["DEVICE", "HEALTH", "NUMA", "HELD BY"], rows));
    }
    text
}

/// What a container got.
pub fn allocation(allocation: &Allocation) -> String {
    let Injection { envs, mounts, device_nodes, annotations, cdi_devices } = &allocation.injection;
    let rows = allocation
        .devices
        .iter()
        .map(|id| ("device", id.clone()))
        .chain(cdi_devices.iter().map(|name| ("CDI device", name.clone())))
        .chain(envs.iter().map(|(key, value)| ("environment", format!("{key}={value}"))))
        .chain(
            device_nodes
                .iter()
                .map(|node| ("device node", format!("{} ({})", node.host_path, node.permissions))),
        )
        .chain(
            mounts.iter().map(|mount| ("mount", format!("{} at {}", mount.host_path, mount.container_path))),
        )
        .chain(annotations.iter().map(|(key, value)| ("annotation", format!("{key}={value}"))))
        .map(|(kind, what)| vec![kind.to_owned(), what]);
    table(&["GOT", "WHAT"], rows)
}

fn none_as_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

/// A table with its titles, each line ended.
fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let head = head.iter().map(|title| (*title).to_owned()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    align(&lines).into_iter().fold(String::new(), |text, line| text + &line + "\n")
}
