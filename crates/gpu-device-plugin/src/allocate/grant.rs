//! The contents of an answer, by each way of injection. Pure.
//!
//! Names and paths that NVIDIA's container runtime reads are those that NVIDIA's device plugin writes (v0.20). CDI names
//! are of our own kind, and always UUIDs: an index is another GPU's after a change.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use cdi::builder::{GDRCOPY, GDS, MANAGEMENT, MOFED};
use cdi::{Kind, qualified_name};
use gpu_config::{DeviceIdStrategy, DeviceListStrategy};
use gpu_model::names::{
    CDI_KIND_GPU, ENABLED, ENV_GDRCOPY, ENV_GDS, ENV_IMEX_CHANNELS, ENV_MOFED, ENV_VISIBLE_DEVICES,
    VISIBLE_DEVICES_DIR,
};

use super::imex_device;
use crate::annotation;
use crate::host_devices::{HostDevices, NodePath};
use crate::injection::Injection;
use crate::state::Device;

/// The kind of our devices.
#[expect(clippy::expect_used, reason = "a constant of the workspace, which each test here reads")]
static KIND: LazyLock<Kind> = LazyLock::new(|| CDI_KIND_GPU.parse().expect("our CDI kind is well formed"));

/// What keeps NVIDIA's container runtime from adding GPUs that an image asks for.
const NO_DEVICES: &str = "void";

/// What stands behind each entry of [`VISIBLE_DEVICES_DIR`].
const NOTHING: &str = "/dev/null";

/// Number of the IMEX channel that a container gets; there is no other (gpu-config's rule, and NVIDIA's).
const CHANNEL: &str = "0";

/// What one container gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// UUIDs of the devices that it gets.
    pub devices: Vec<String>,
    /// Qualified CDI names, in the order that the kubelet asked for.
    pub cdi_devices: Vec<String>,
    /// Annotations for the container runtime.
    pub annotations: BTreeMap<String, String>,
    /// Environment variables.
    pub envs: BTreeMap<String, String>,
    /// Mounts.
    pub mounts: Vec<Mount>,
    /// Device nodes to read and write, each once.
    pub nodes: Vec<NodePath>,
}

/// Something of the host's in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where the container has it.
    pub container: String,
    /// Where the host has it.
    pub host: String,
}

/// What a container gets for these devices; nothing for none.
pub(super) fn of(injection: &Injection, host: &HostDevices, devices: &[&Device]) -> Grant {
    let Some(first) = devices.first() else { return Grant::default() };
    let mut grant = Grant { devices: uuids(devices), ..Grant::default() };
    let has_channel = injection.imex.channel && host.has(&imex_device());
    if injection.uses_cdi() {
        let names = cdi_names(injection, host, devices, has_channel);
        if injection.is_by(DeviceListStrategy::CdiAnnotations) {
            let key = annotation::key(&injection.annotation_prefix, first.offered.unit.as_str());
            grant.annotations.insert(key, names.join(","));
        }
        if injection.is_by(DeviceListStrategy::CdiCri) {
            grant.cdi_devices = names;
        }
    }
    if injection.is_all_cdi() {
        return grant;
    }

    let names = plain_names(injection.id_strategy, devices);
    let mut env = |name: &str, value: &str| drop(grant.envs.insert(name.to_owned(), value.to_owned()));
    if injection.is_by(DeviceListStrategy::Envvar) {
        env(ENV_VISIBLE_DEVICES, &names.join(","));
        if has_channel {
            env(ENV_IMEX_CHANNELS, CHANNEL);
        }
    }
    if injection.is_by(DeviceListStrategy::VolumeMounts) {
        // The runtime reads either, and the folder only if the variable names it.
        env(ENV_VISIBLE_DEVICES, VISIBLE_DEVICES_DIR);
        let channel = has_channel.then(|| format!("imex/{CHANNEL}"));
        let entry = |name: String| Mount {
            container: format!("{VISIBLE_DEVICES_DIR}/{name}"),
            host: NOTHING.to_owned(),
        };
        grant.mounts = names.into_iter().chain(channel).map(entry).collect();
    }
    for (is_on, name) in
        [(injection.gdrcopy, ENV_GDRCOPY), (injection.gds, ENV_GDS), (injection.mofed, ENV_MOFED)]
    {
        if is_on {
            grant.envs.insert(name.to_owned(), ENABLED.to_owned());
        }
    }
    if injection.passes_nodes() {
        grant.nodes = nodes(host, devices, has_channel);
    }
    grant
}

/// What a daemon of the node gets: the nodes of all GPUs, and nothing beside them. By CDI where that is in use; elsewhere the
/// kubelet is told the nodes, and NVIDIA's container runtime to add none.
pub(super) fn of_management(injection: &Injection, host: &HostDevices) -> Grant {
    let mut grant = Grant { devices: vec![MANAGEMENT.to_owned()], ..Grant::default() };
    if injection.uses_cdi() {
        let name = qualified_name(&KIND, MANAGEMENT);
        if injection.is_by(DeviceListStrategy::CdiAnnotations) {
            let key = annotation::key(&injection.annotation_prefix, MANAGEMENT);
            grant.annotations.insert(key, name.clone());
        }
        if injection.is_by(DeviceListStrategy::CdiCri) {
            grant.cdi_devices.push(name);
        }
    } else {
        grant.envs.insert(ENV_VISIBLE_DEVICES.to_owned(), NO_DEVICES.to_owned());
        grant.nodes = host.control().iter().chain(host.nodes(MANAGEMENT)).cloned().collect();
    }
    grant
}

/// The devices, and what the host has beside them and is wanted.
fn cdi_names(
    injection: &Injection,
    host: &HostDevices,
    devices: &[&Device],
    has_channel: bool,
) -> Vec<String> {
    let wanted = [(injection.gds, GDS), (injection.gdrcopy, GDRCOPY), (injection.mofed, MOFED)];
    let beside = wanted.into_iter().filter(|(is_on, name)| *is_on && host.has(name));
    let channel = has_channel.then(imex_device);
    let names = uuids(devices).into_iter().chain(beside.map(|(_, name)| name.to_owned())).chain(channel);
    names.map(|name| qualified_name(&KIND, &name)).collect()
}

fn uuids(devices: &[&Device]) -> Vec<String> {
    devices.iter().map(|device| device.offered.unit.as_str().to_owned()).collect()
}

/// What NVIDIA's container runtime calls the devices. Indexes are in their own order, whatever the kubelet's is.
fn plain_names(by: DeviceIdStrategy, devices: &[&Device]) -> Vec<String> {
    match by {
        DeviceIdStrategy::Uuid => uuids(devices),
        DeviceIdStrategy::Index => {
            let mut places: Vec<(u32, Option<u32>)> = devices
                .iter()
                .filter_map(|Device { offered, .. }| {
                    Some((offered.gpu.as_ref()?.index, offered.mig.map(|mig| mig.index)))
                })
                .collect();
            places.sort_unstable();
            let name = |(gpu, mig): (u32, Option<u32>)| match mig {
                None => gpu.to_string(),
                Some(mig) => format!("{gpu}:{mig}"),
            };
            places.into_iter().map(name).collect()
        }
    }
}

/// The control nodes, then those of each device, each once: two MIG devices of one GPU share its node.
fn nodes(host: &HostDevices, devices: &[&Device], has_channel: bool) -> Vec<NodePath> {
    let channel = if has_channel { imex_device() } else { String::new() };
    let of_devices = devices.iter().flat_map(|device| host.nodes(device.offered.unit.as_str()));
    let mut all: Vec<NodePath> = Vec::new();
    for node in host.control().iter().chain(of_devices).chain(host.nodes(&channel)) {
        if !all.contains(node) {
            all.push(node.clone());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use gpu_model::Health;

    use super::*;
    use crate::injection::InjectionFlags;
    use crate::injection::tests::file;
    use crate::resource_map::{MigPlace, Offered, Unit};
    use crate::state::tests::gpu;

    fn part(gpu_index: u32, index: u32) -> Device {
        let uuid = format!("MIG-00000000-0000-0000-00{gpu_index:02x}-0000000000{index:02x}");
        let place = MigPlace { index, gpu_instance: index + 1, compute_instance: 0 };
        let offered = Offered {
            unit: Unit::Mig(uuid.parse().unwrap()),
            mig: Some(place),
            ..Offered::whole(gpu(gpu_index as usize), gpu_index, None)
        };
        Device { offered, health: Health::Healthy, lacking: None }
    }

    fn granted(plugin: &str, host: &HostDevices, devices: &[&Device]) -> Grant {
        let text = format!("flags: {{plugin: {{{plugin}}}}}");
        of(&Injection::new(&InjectionFlags::default(), &file(&text)).unwrap(), host, devices)
    }

    #[test]
    fn indexes_of_mig_devices_name_gpu_and_part_in_order() {
        let devices = [part(10, 0), part(2, 1), part(2, 0)];
        let devices: Vec<&Device> = devices.iter().collect();
        let text = "deviceListStrategy: envvar, deviceIDStrategy: index";
        let grant = granted(text, &HostDevices::default(), &devices);
        assert_eq!(grant.envs["NVIDIA_VISIBLE_DEVICES"], "2:0,2:1,10:0");
    }

    #[test]
    fn answers_of_two_resources_have_annotations_of_their_own() {
        let (one, other) = (part(0, 0), part(0, 1));
        let key = |device| {
            let grant = granted("deviceListStrategy: cdi-annotations", &HostDevices::default(), &[device]);
            grant.annotations.into_keys().next().unwrap()
        };
        assert_ne!(key(&one), key(&other));
        assert_eq!(key(&one), key(&one));
    }

    #[test]
    fn nothing_is_granted_for_no_device() {
        for strategy in ["envvar", "volume-mounts", "cdi-annotations", "cdi-cri"] {
            let grant = granted(&format!("deviceListStrategy: {strategy}"), &HostDevices::default(), &[]);
            assert_eq!(grant, Grant::default());
        }
    }
}
