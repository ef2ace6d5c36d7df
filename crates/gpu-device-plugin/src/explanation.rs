//! What a config would do on a node: its resources, the answers for one device of each, and what a person should know.
//! Pure: config text, flags and inventory in, a document out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use gpu_config::{Checked, DeviceListStrategy, InvalidConfig, Mode};
use gpu_model::{Health, Inventory, ResourceName};
use serde::Serialize;

use crate::allocate::{Grant, allocate};
use crate::args::Face;
use crate::host_devices::HostDevices;
use crate::injection::Injection;
use crate::offering::{Offering, OfferingFlags};
use crate::resource_map::{Offered, ResourceMap, resource_map};
use crate::state::{Device, SpecState, State};

/// What a config would do.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Why it would not be taken over, if so; nothing else is told then.
    pub refused: Option<String>,
    /// What the kubelet would have.
    pub resources: Vec<Resource>,
    /// What is not offered, and why.
    pub remarks: Vec<String>,
    /// What may not be as it was meant.
    pub warnings: Vec<String>,
    /// What would be otherwise under our own face, where the other one is worn.
    pub without_compat: Vec<String>,
}

/// One resource.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    name: String,
    /// How many ids the kubelet would see.
    ids: usize,
    devices: Vec<Part>,
    /// What a container would get for the first id.
    allocate: Answer,
}

/// One device with all its ids.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    device: String,
    /// Index of the GPU, with that of the MIG device behind a colon; `-` for what stands for all.
    index: String,
    /// How many containers may have it at once, each by the id `<device>::<number>` from 0; none where it is not shared.
    shares: Option<u32>,
}

/// What a container would get.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    id: String,
    cdi_devices: Vec<String>,
    annotations: BTreeMap<String, String>,
    envs: BTreeMap<String, String>,
    /// Paths in the container, each with what of the host stands there.
    mounts: BTreeMap<String, String>,
    /// The same of device nodes.
    nodes: BTreeMap<String, String>,
}

/// What a config would do on the node of this inventory. `name` and `text` are the config's.
pub fn explain(name: &str, text: &str, flags: &OfferingFlags, inventory: &Inventory) -> Explanation {
    let mode = flags.injection.mode;
    let (offering, mut warnings) = match offering(name, text, flags) {
        Ok(found) => found,
        Err(refused) => return Explanation::refused(refused),
    };
    let map = resource_map(&offering, &inventory.gpus);
    if let Err(error) = map.check() {
        return Explanation::refused(error.to_string());
    }
    warnings.extend(offering.injection.without_effect.iter().cloned());
    warnings.extend(overwritten(&offering.injection, &map));
    warnings.extend(assumed(&offering));
    let host = Arc::new(HostDevices::assumed(inventory));
    let resources =
        map.resources.iter().filter_map(|(resource, devices)| told(&offering, &host, resource, devices));
    Explanation {
        refused: None,
        resources: resources.collect(),
        without_compat: match mode {
            Mode::Strict => Vec::new(),
            Mode::Compat => without_compat(name, text, flags, inventory, &offering, &map),
        },
        remarks: map.remarks,
        warnings,
    }
}

type Found = (Offering, Vec<String>);

fn offering(name: &str, text: &str, flags: &OfferingFlags) -> Result<Found, String> {
    let read: Result<Checked, InvalidConfig> = gpu_config::read(name, text, flags.injection.mode);
    let checked = read.map_err(|invalid| invalid.to_string())?;
    let offering = Offering::new(flags, Some(&checked.config)).map_err(|error| error.to_string())?;
    Ok((offering, checked.warnings.iter().map(ToString::to_string).collect()))
}

fn told(
    offering: &Offering,
    host: &Arc<HostDevices>,
    resource: &ResourceName,
    devices: &[Offered],
) -> Option<Resource> {
    let device =
        |offered: &Offered| Device { offered: offered.clone(), health: Health::Healthy, lacking: None };
    let state = State {
        devices: devices.iter().map(device).collect(),
        spec: SpecState::Ready,
        terms: offering.terms(),
        injection: Arc::clone(&offering.injection),
        host: Arc::clone(host),
        ..State::new(resource.clone())
    };
    let id = state.devices.first()?.ids().next()?;
    let grant = allocate(&state, std::slice::from_ref(&id)).ok()?;
    Some(Resource {
        name: resource.to_string(),
        ids: state.ids(),
        devices: devices.iter().map(part).collect(),
        allocate: answer(id, grant),
    })
}

fn part(offered: &Offered) -> Part {
    let index = match (&offered.gpu, offered.mig) {
        (None, _) => "-".to_owned(),
        (Some(gpu), None) => gpu.index.to_string(),
        (Some(gpu), Some(mig)) => format!("{}:{}", gpu.index, mig.index),
    };
    Part { device: offered.unit.to_string(), index, shares: offered.shares }
}

fn answer(id: String, grant: Grant) -> Answer {
    let Grant { devices: _, cdi_devices, annotations, envs, mounts, nodes } = grant;
    Answer {
        id,
        cdi_devices,
        annotations,
        envs,
        mounts: mounts.into_iter().map(|mount| (mount.container, mount.host)).collect(),
        nodes: nodes.into_iter().map(|node| (node.container, node.host)).collect(),
    }
}

/// Answers of several resources overwrite each other where a variable alone names the devices.
fn overwritten(injection: &Injection, map: &ResourceMap) -> Option<String> {
    let names: Vec<&str> = map.resources.keys().map(ResourceName::as_str).collect();
    (!injection.uses_cdi() && names.len() > 1).then(|| {
        format!(
            "a container that asks for two of {} gets the devices of one alone: both answers set NVIDIA_VISIBLE_DEVICES, and the kubelet keeps the first; a CDI strategy has no such limit",
            names.join(", ")
        )
    })
}

/// What an inventory does not tell.
fn assumed(offering: &Offering) -> Vec<String> {
    let injection = &offering.injection;
    let mut told = Vec::new();
    if injection.passes_nodes() || (offering.management > 0 && !injection.uses_cdi()) {
        told.push("device nodes are told as the driver names them: which exist, and those of MIG capabilities, only the running plugin looks up".to_owned());
    }
    if injection.uses_cdi() && (injection.gds || injection.gdrcopy || injection.mofed)
        || injection.imex.channel
    {
        told.push("GPUDirect Storage, GDRCopy, InfiniBand and IMEX channels are told as if the host had them; a container goes without what it lacks".to_owned());
    }
    told
}

/// What our own face would do otherwise.
fn without_compat(
    name: &str,
    text: &str,
    flags: &OfferingFlags,
    inventory: &Inventory,
    here: &Offering,
    map: &ResourceMap,
) -> Vec<String> {
    let mut ours = flags.clone();
    let face = Face::new(false);
    (ours.injection.mode, ours.injection.default_strategy) = (face.mode, face.device_list_strategy);
    let mut told =
        vec!["a missing driver would be waited for, unless --fail-on-init-error says otherwise".to_owned()];
    let there = match offering(name, text, &ours) {
        Ok((there, _)) => there,
        Err(refused) => {
            told.push(format!("it would be refused: {refused}"));
            return told;
        }
    };
    let ways = |offering: &Offering| {
        offering.injection.strategies().iter().map(|way| way_name(*way)).collect::<Vec<_>>().join(", ")
    };
    if here.injection.strategies() != there.injection.strategies() {
        told.push(format!(
            "containers would get their devices by {} instead of {}",
            ways(&there),
            ways(here)
        ));
    }
    let there = resource_map(&there, &inventory.gpus);
    let names: BTreeSet<&ResourceName> = map.resources.keys().chain(there.resources.keys()).collect();
    for resource in names {
        let count = |map: &ResourceMap| {
            let devices = map.resources.get(resource);
            devices.into_iter().flatten().map(|device| u64::from(device.count())).sum::<u64>()
        };
        if count(map) != count(&there) {
            told.push(format!("{resource} would have {} ids instead of {}", count(&there), count(map)));
        }
    }
    told
}

fn way_name(way: DeviceListStrategy) -> &'static str {
    match way {
        DeviceListStrategy::Envvar => "envvar",
        DeviceListStrategy::VolumeMounts => "volume-mounts",
        DeviceListStrategy::CdiAnnotations => "cdi-annotations",
        DeviceListStrategy::CdiCri => "cdi-cri",
    }
}

impl Explanation {
    fn refused(reason: String) -> Self {
        Self {
            refused: Some(reason),
            resources: Vec::new(),
            remarks: Vec::new(),
            warnings: Vec::new(),
            without_compat: Vec::new(),
        }
    }

    /// For people.
    pub fn words(&self) -> String {
        let mut text = String::new();
        if let Some(refused) = &self.refused {
            let _ = writeln!(text, "refused: {refused}");
        }
        for resource in &self.resources {
            resource.write(&mut text);
        }
        if self.resources.is_empty() && self.refused.is_none() {
            text.push_str("nothing is offered\n");
        }
        for (kind, list) in [
            ("remark", &self.remarks),
            ("warning", &self.warnings),
            ("without --compat", &self.without_compat),
        ] {
            for line in list {
                let _ = writeln!(text, "{kind}: {line}");
            }
        }
        text
    }
}

impl Resource {
    fn write(&self, text: &mut String) {
        let _ = writeln!(text, "{}: {} ids of {} devices", self.name, self.ids, self.devices.len());
        for Part { device, index, shares } in &self.devices {
            let ids = match shares {
                None => device.clone(),
                Some(shares) => format!("{device}::0 to ::{}", shares.saturating_sub(1)),
            };
            let _ = writeln!(text, "  {index:<5} {ids}");
        }
        let Answer { id, cdi_devices, annotations, envs, mounts, nodes } = &self.allocate;
        let _ = writeln!(text, "  a container with {id} gets");
        for name in cdi_devices {
            let _ = writeln!(text, "    CDI device  {name}");
        }
        for (key, value) in annotations {
            let _ = writeln!(text, "    annotation  {key}={value}");
        }
        for (name, value) in envs {
            let _ = writeln!(text, "    variable    {name}={value}");
        }
        for (container, host) in mounts {
            let _ = writeln!(text, "    mount       {host} at {container}");
        }
        for container in nodes.keys() {
            let _ = writeln!(text, "    node        {container}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::injection::InjectionFlags;

    /// What `gpu-device-plugin devices --output json` printed on a node of a whole GPU and one with two MIG devices.
    const NODE: &str = include_str!("../tests/golden/explain-node.json");

    fn flags(compat: bool) -> OfferingFlags {
        let face = Face::new(compat);
        let injection = InjectionFlags {
            mode: face.mode,
            default_strategy: face.device_list_strategy,
            ..InjectionFlags::default()
        };
        OfferingFlags { injection, ..OfferingFlags::default() }
    }

    fn explained(text: &str, compat: bool) -> Explanation {
        explain("config.yaml", text, &flags(compat), &serde_json::from_str(NODE).unwrap())
    }

    const CONFIG: &str = "
flags:
  migStrategy: mixed
  plugin: {passDeviceSpecs: true}
sharing:
  timeSlicing:
    resources: [{name: nvidia.com/gpu, rename: nvidia.com/gpu-turns, replicas: 3}]
";

    #[test]
    fn explanation_is_as_the_goldens_say() {
        let golden = |name: &str| {
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("explain-{name}.txt"))
        };
        let strict = CONFIG.replace("passDeviceSpecs: true", "");
        sim_node::assert_golden(&golden("mixed"), &explained(&strict, false).words());
        let management = "gpuManagement: 2\nflags: {plugin: {deviceListStrategy: envvar}}\n";
        sim_node::assert_golden(&golden("management"), &explained(management, false).words());
        sim_node::assert_golden(&golden("compat"), &explained(CONFIG, true).words());
    }

    #[test]
    fn what_would_not_be_taken_over_is_told_alone() {
        let refused = explained(CONFIG, false);
        assert!(refused.refused.unwrap().contains("passDeviceSpecs") && refused.resources.is_empty());
        let text = "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 60000}]}}";
        assert!(explained(text, false).refused.unwrap().contains("16384"));
    }
}
