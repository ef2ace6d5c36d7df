//! The rules between the keys of a node file. It knows what can be and what to say of what cannot; it reads no file.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::Path;

use super::{Fabric, Gpu, Node, NodeError, find_or_tell, limits};
use crate::code::Code;
use crate::faults::{Declared, FaultEntry};
use crate::functions;
use crate::identity;
use crate::latency::Latency;
use crate::mig::{self, MigState, Wanted};
use crate::model::{Model, ModelLayer};
use crate::node_file::{FabricSection, GpuEntry, NodeFile};
use crate::pci::PciAddress;
use crate::presets;
use crate::processes::ProcessEntry;
use crate::root::config_space::VGPU_TEXT_BYTES;
use crate::state::State;
use crate::topology::{Link, PciePlace};
use crate::yaml::{self, YamlError};

/// More GPUs than any machine has; keeps device numbers and handles in range.
const GPUS_MAX: usize = 64;
/// The highest NUMA node of a Linux kernel.
const NUMA_MAX: u32 = 1023;
/// The highest minor number of a GPU's device node; those above belong to the driver itself.
const MINOR_MAX: u32 = 253;
/// The longest texts that NVML's buffers hold, and DMI's product name.
const SERIAL_BYTES: usize = 29;
const VERSION_BYTES: usize = 79;
const MACHINE_BYTES: usize = 64;

/// The rules between keys, with the file for their messages.
pub struct Check<'a> {
    /// The node file.
    pub file: &'a Path,
}

impl Check<'_> {
    fn fail(&self, path: impl Into<String>, problem: impl Into<String>) -> NodeError {
        YamlError::at(self.file, path, problem)
    }

    /// Not more GPUs than can be simulated.
    pub fn gpu_count(&self, count: usize) -> Result<(), NodeError> {
        if count > GPUS_MAX {
            return Err(self.fail("gpus", format!("{count} GPUs; at most {GPUS_MAX} can be simulated")));
        }
        Ok(())
    }

    /// One GPU, with its preset and overrides.
    pub fn gpu(
        &self,
        index: usize,
        entry: &GpuEntry,
        node: &NodeFile,
        sockets: &BTreeMap<u32, u16>,
        models: &mut BTreeMap<String, ModelLayer>,
    ) -> Result<Gpu, NodeError> {
        let at = |key: &str| format!("gpus[{index}].{key}");
        let preset = presets::find(presets::GPUS, &entry.model).ok_or_else(|| {
            let known = presets::names(presets::GPUS);
            self.fail(at("model"), format!("no GPU preset is called `{}`; there are {known}", entry.model))
        })?;
        let layer = match models.get(preset.name) {
            Some(layer) => layer.clone(),
            None => {
                let layer: ModelLayer = yaml::parse(Path::new(preset.name), preset.yaml)?;
                models.insert(preset.name.to_owned(), layer.clone());
                layer
            }
        };
        let model = entry.overrides.clone().over(layer).complete().map_err(|key| {
            let key = key.replace('_', "-");
            self.fail(at("overrides"), format!("neither {} nor the overrides give `{key}`", preset.name))
        })?;
        limits::check(&model)
            .map_err(|wrong| self.fail(at(&format!("overrides.{}", wrong.key)), wrong.problem))?;
        if let Some(numa) = entry.numa {
            self.numa(at("numa"), numa, node)?;
        }
        if let Some(numa) = entry.memory_numa {
            self.memory_numa(at("memory-numa"), numa, node, &model)?;
        }
        let socket = entry.numa.and_then(|numa| sockets.get(&numa)).copied();
        if let (Some(place), Some(numa), Some(socket)) = (entry.pcie, entry.numa, socket)
            && place.socket() != socket
        {
            let own = place.socket();
            let problem = format!("socket {own}, but its NUMA node {numa} is on socket {socket}");
            return Err(self.fail(at("pcie"), problem));
        }
        let uuid = entry.uuid.clone().unwrap_or_else(|| identity::gpu_uuid(&node.seed, index));
        if identity::uuid_bytes(&uuid).is_none() || uuid.len() != 40 {
            let hint = "write GPU- and 8-4-4-4-12 hexadecimal digits";
            return Err(self.fail(at("uuid"), format!("`{uuid}` is not a GPU UUID; {hint}")));
        }
        let serial = entry.serial.clone().unwrap_or_else(|| identity::serial(&node.seed, index));
        limits::text(&serial, SERIAL_BYTES).map_err(|problem| self.fail(at("serial"), problem))?;
        let minor = entry.minor.unwrap_or(u32::try_from(index).unwrap_or(u32::MAX));
        if minor > MINOR_MAX {
            return Err(self.fail(at("minor"), format!("`{minor}` cannot be; write 0 to {MINOR_MAX}")));
        }
        self.vgpu(&at("vgpu"), entry)?;
        let mut gpu = Gpu {
            index,
            place: index,
            handle: u32::try_from(index).unwrap_or(u32::MAX),
            uuid,
            serial,
            minor,
            pci: entry.pci,
            numa: entry.numa,
            memory_numa: entry.memory_numa,
            pcie: entry.pcie.unwrap_or_else(|| PciePlace::alone(socket.unwrap_or(0), index)),
            links: self.links(index, entry, node, &model)?,
            vgpu: entry.vgpu.clone(),
            pci_config: entry.pci_config,
            load: entry.load.clone(),
            model,
            mig_instances: None,
        };
        gpu.mig_instances = entry.mig_instances.as_ref().map(|words| self.layout(&gpu, words)).transpose()?;
        Ok(gpu)
    }

    /// Texts that have room in a vGPU's capability.
    fn vgpu(&self, at: &str, entry: &GpuEntry) -> Result<(), NodeError> {
        let Some(vgpu) = &entry.vgpu else { return Ok(()) };
        for (key, value) in [("host-version", &vgpu.host_version), ("host-branch", &vgpu.host_branch)] {
            limits::text(value, VGPU_TEXT_BYTES)
                .map_err(|problem| self.fail(format!("{at}.{key}"), problem))?;
        }
        Ok(())
    }

    /// The MIG instances that a GPU has from the beginning: profiles that it has, and room for all.
    fn layout(&self, gpu: &Gpu, words: &[String]) -> Result<Vec<Wanted>, NodeError> {
        let at = format!("gpus[{}].mig-instances", gpu.index);
        if !gpu.model.is_mig_capable() {
            let problem = format!("{} cannot do MIG; leave the key out", gpu.model.name);
            return Err(self.fail(at, problem));
        }
        let table = &gpu.model.mig;
        let mut layout = Vec::new();
        for (index, word) in words.iter().enumerate() {
            let (_, wanted) = mig::wanted(table, word)
                .map_err(|error| self.fail(format!("{at}[{index}]"), error.to_string()))?;
            layout.push(wanted);
        }
        MigState::default().lay(gpu, &layout).map_err(|(index, code)| {
            let word = words.get(index).map_or("", String::as_str);
            let profile = layout.get(index).and_then(|wanted| table.by_id(wanted.profile));
            let starts: Vec<String> =
                profile.map_or(&[][..], |profile| &profile.starts).iter().map(u32::to_string).collect();
            let starts = starts.join(", ");
            let problem = match code {
                Code::INVALID_ARGUMENT if word.contains('/') => {
                    format!("`{word}` or a compute instance of it cannot begin there; it begins at {starts}")
                }
                Code::INVALID_ARGUMENT => format!("`{word}` cannot begin there; it begins at {starts}"),
                _ => format!("`{word}` finds no room beside those before it; it begins at {starts}"),
            };
            self.fail(format!("{at}[{index}]"), problem)
        })?;
        Ok(layout)
    }

    fn numa(&self, at: impl Into<String>, numa: u32, node: &NodeFile) -> Result<(), NodeError> {
        if numa > NUMA_MAX {
            return Err(self.fail(at, format!("`{numa}` cannot be; write 0 to {NUMA_MAX}")));
        }
        if node.cpus.is_empty() || node.cpus.contains_key(&numa) {
            return Ok(());
        }
        let known = node.cpus.keys().map(u32::to_string).collect::<Vec<_>>().join(", ");
        Err(self.fail(at, format!("no NUMA node {numa} in `cpus`; there are {known}")))
    }

    /// A GPU's memory is a NUMA node of its own, without CPUs, where the CPU reaches it over NVLink-C2C.
    fn memory_numa(&self, at: String, numa: u32, node: &NodeFile, model: &Model) -> Result<(), NodeError> {
        if numa > NUMA_MAX || node.cpus.contains_key(&numa) {
            let hint = format!("write one from 0 to {NUMA_MAX} that `cpus` does not name");
            return Err(self.fail(at, format!("`{numa}` is no NUMA node of memory alone; {hint}")));
        }
        if !model.c2c {
            let name = &model.name;
            return Err(self.fail(at, format!("only a GPU with `c2c: true` has one, and {name} has not")));
        }
        Ok(())
    }

    /// NUMA node -> socket: as declared, else as the first GPU of each NUMA node tells.
    pub fn sockets(&self, node: &NodeFile) -> Result<BTreeMap<u32, u16>, NodeError> {
        let mut sockets = BTreeMap::new();
        for (socket, numas) in node.sockets.iter().enumerate() {
            for (index, numa) in numas.iter().enumerate() {
                let at = format!("sockets[{socket}][{index}]");
                self.numa(&at, *numa, node)?;
                let number = u16::try_from(socket).unwrap_or(u16::MAX);
                if sockets.insert(*numa, number).is_some() {
                    return Err(self.fail(at, format!("NUMA node {numa} stands twice; it is on one socket")));
                }
            }
        }
        if node.sockets.is_empty() {
            for (numa, place) in node.gpus.iter().filter_map(|gpu| gpu.numa.zip(gpu.pcie)) {
                sockets.entry(numa).or_insert(place.socket());
            }
        }
        Ok(sockets)
    }

    fn links(
        &self,
        index: usize,
        entry: &GpuEntry,
        node: &NodeFile,
        model: &Model,
    ) -> Result<Vec<Link>, NodeError> {
        let links = model.nvlinks as usize;
        if let Some(peers) = &entry.nvlink_peers {
            let at = format!("gpus[{index}].nvlink-peers");
            if peers.len() > links {
                return Err(self.fail(
                    at,
                    format!("{} links, but the model has {links}; write as many at most", peers.len()),
                ));
            }
            if let Some(wrong) = peers.iter().find(|peer| **peer >= node.gpus.len() || **peer == index) {
                let last = node.gpus.len().saturating_sub(1);
                let hint = format!("write 0 to {last}, and not {index} itself");
                return Err(self.fail(at, format!("`{wrong}` is not the index of another GPU; {hint}")));
            }
            return Ok(peers.iter().map(|peer| Link::Gpu(*peer)).collect());
        }
        if node.nvswitches.is_empty() && node.fabric.is_some() && model.fabric {
            return Ok(vec![Link::Fabric; links]);
        }
        Ok(node.nvswitches.iter().cycle().take(links).map(|switch| Link::Switch(*switch)).collect())
    }

    /// Each link has two ends: two GPUs must name each other equally often.
    pub fn peers(&self, gpus: &[Gpu]) -> Result<(), NodeError> {
        let to = |gpu: &Gpu, other: usize| gpu.links.iter().filter(|link| **link == Link::Gpu(other)).count();
        for gpu in gpus {
            for other in gpus {
                let (there, back) = (to(gpu, other.index), to(other, gpu.index));
                if there > back {
                    let (from, to) = (gpu.index, other.index);
                    let problem = format!(
                        "{there} links to GPU {to}, which names GPU {from} {back} times; write each link at both ends"
                    );
                    return Err(self.fail(format!("gpus[{from}].nvlink-peers"), problem));
                }
            }
        }
        Ok(())
    }

    /// What must not stand twice.
    pub fn distinct(&self, gpus: &[Gpu], switches: &[PciAddress]) -> Result<(), NodeError> {
        let mut addresses: BTreeSet<PciAddress> = gpus.iter().map(|gpu| gpu.pci).collect();
        for (index, switch) in switches.iter().enumerate() {
            if !addresses.insert(*switch) {
                let problem =
                    format!("`{switch}` is that of a GPU or of an earlier NVSwitch; each needs its own");
                return Err(self.fail(format!("nvswitches[{index}]"), problem));
            }
        }
        let mut seen = BTreeSet::new();
        for gpu in gpus {
            let index = gpu.index;
            let keys = [
                ("pci", gpu.pci.to_string()),
                ("uuid", gpu.uuid.to_lowercase()),
                ("minor", gpu.minor.to_string()),
                ("serial", gpu.serial.clone()),
                (
                    "memory-numa",
                    gpu.memory_numa.map_or_else(|| format!("none of {index}"), |numa| numa.to_string()),
                ),
            ];
            for (key, value) in keys {
                if !seen.insert((key, value.clone())) {
                    let problem = format!("`{value}` is that of an earlier GPU too; each GPU needs its own");
                    return Err(self.fail(format!("gpus[{index}].{key}"), problem));
                }
            }
        }
        Ok(())
    }

    /// What stands for the whole machine.
    pub fn machine(&self, node: &NodeFile) -> Result<(), NodeError> {
        let name = node.machine.as_deref().map_or(Ok(()), |name| limits::text(name, MACHINE_BYTES));
        name.map_err(|problem| self.fail("machine", problem))?;
        let wrong = node.cpus.keys().find(|numa| **numa > NUMA_MAX);
        wrong.map_or(Ok(()), |numa| {
            Err(self.fail(format!("cpus.{numa}"), format!("no such NUMA node; write 0 to {NUMA_MAX}")))
        })
    }

    /// The NVLink fabric; the all-zero cluster where none is named.
    pub fn fabric(&self, fabric: &FabricSection) -> Result<Fabric, NodeError> {
        let uuid = fabric.cluster_uuid.as_deref().unwrap_or("00000000-0000-0000-0000-000000000000");
        let bytes = identity::uuid_bytes(&format!("GPU-{uuid}")).filter(|_| uuid.len() == 36);
        let cluster_uuid = bytes.ok_or_else(|| {
            let hint = "write 8-4-4-4-12 hexadecimal digits";
            self.fail("fabric.cluster-uuid", format!("`{uuid}` is not a UUID; {hint}"))
        })?;
        Ok(Fabric { cluster_uuid, clique: fabric.clique })
    }

    /// Names that are functions and GPUs. GPUs are told by UUID afterwards.
    pub fn latency(&self, mut latency: Latency, gpus: &[Gpu]) -> Result<Latency, NodeError> {
        for pattern in latency.functions.keys() {
            let fail = |error| self.fail(format!("latency.functions.{pattern}"), format!("{error}"));
            functions::check(pattern).map_err(fail)?;
        }
        let mut by_uuid = BTreeMap::new();
        for (name, delays) in latency.gpus {
            let at = format!("latency.gpus.{name}");
            let gpu = find_or_tell(gpus, &name).map_err(|error| self.fail(&at, error.to_string()))?;
            for pattern in delays.functions.keys() {
                let fail = |problem| self.fail(format!("{at}.functions.{pattern}"), problem);
                functions::check(pattern).map_err(|error| fail(error.to_string()))?;
                functions::check_takes_gpu(pattern).map_err(|error| fail(error.to_string()))?;
            }
            if by_uuid.insert(gpu.uuid.clone(), delays).is_some() {
                return Err(self.fail(at, "that GPU stands twice; write all its delays under one name"));
            }
        }
        latency.gpus = by_uuid;
        Ok(latency)
    }

    /// Faults that can be, of which the driver refuses none that is there from the beginning.
    pub fn faults(
        &self,
        entries: Vec<FaultEntry>,
        node: &Node,
        trial: &mut State,
    ) -> Result<Vec<Declared>, NodeError> {
        let numbered = entries.into_iter().enumerate();
        let checked = numbered.map(|(index, entry)| {
            let effect = entry.effect_key();
            let fail = |key: Option<&str>, problem: String| {
                let key = key.or(effect).map(|key| format!(".{key}")).unwrap_or_default();
                self.fail(format!("faults[{index}]{key}"), problem)
            };
            let declared = entry.declared().and_then(|declared| declared.checked(&node.gpus));
            let declared = declared.map_err(|error| fail(error.key(), error.to_string()))?;
            trial.add(node, declared.clone(), 0).map_err(|error| fail(None, error.to_string()))?;
            Ok(declared)
        });
        checked.collect()
    }

    /// Processes that can begin on the node one after the other.
    pub fn processes(
        &self,
        entries: Vec<ProcessEntry>,
        node: &Node,
        trial: &mut State,
    ) -> Result<Vec<ProcessEntry>, NodeError> {
        for (index, entry) in entries.iter().enumerate() {
            let fail = |key: &str, problem: String| self.fail(format!("processes[{index}].{key}"), problem);
            let gpu = find_or_tell(&node.gpus, &entry.gpu).map_err(|error| fail("gpu", error.to_string()))?;
            trial
                .start_process(gpu, entry.clone(), 0)
                .map_err(|error| fail(error.key(), error.to_string()))?;
        }
        Ok(entries)
    }

    /// The version names files of a host root, so it must not be a path either.
    pub fn driver(&self, version: &str) -> Result<(), NodeError> {
        let right = "a driver version; write numbers and dots, such as 580.95.05";
        self.version("driver.version", version, 2..=4, right)
    }

    /// NVML's version.
    pub fn nvml(&self, version: &str) -> Result<(), NodeError> {
        let right = "an NVML version; write numbers and dots, such as 13.580.95.05";
        self.version("driver.nvml", version, 2..=5, right)
    }

    fn version(
        &self,
        at: &str,
        version: &str,
        parts: RangeInclusive<usize>,
        right: &str,
    ) -> Result<(), NodeError> {
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let count = version.split('.').count();
        if version.len() <= VERSION_BYTES && parts.contains(&count) && version.split('.').all(is_number) {
            return Ok(());
        }
        Err(self.fail(at, format!("`{version}` is not {right}")))
    }

    /// The CUDA version as NVML counts it.
    pub fn cuda(&self, version: &str) -> Result<u32, NodeError> {
        let parse = || {
            let (major, minor) = version.split_once('.')?;
            let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
            (major < 1000 && minor < 100).then_some(major * 1000 + minor * 10)
        };
        parse().ok_or_else(|| {
            self.fail(
                "driver.cuda",
                format!("`{version}` is not a CUDA version; write it quoted, such as \"13.0\""),
            )
        })
    }
}
