//! What the keys mean together: from what is written to what holds. It judges everything, and does not stop at the first
//! problem.

use std::collections::BTreeMap;

use gpu_health::xid::XidClass;
use gpu_model::ResourceName;
use gpu_model::names::{NVIDIA_DOMAIN, RESOURCE_GPU_MANAGEMENT};

use crate::config::{
    Config, DeviceFilter, Flags, GfdFlags, GpuRule, Imex, MigRule, PluginFlags, SharedResource, TimeSlicing,
};
use crate::devices::Devices;
use crate::file::{
    DevicesPart, File, FlagsPart, GfdPart, GpuRulePart, HealthPart, ImexPart, MigRulePart, NumberOrText,
    OneOrMore, PluginPart, RangePart, ResourcesPart, SharedPart, TimeSlicingPart, XidPart,
};
use crate::finding::Finding;
use crate::pattern::Pattern;
use crate::read::Mode;
use crate::selector::GpuSelector;
use crate::values::{DiscoveryStrategy, Range};

const VERSION: &str = "v1";
/// Fewer shares are none.
const REPLICAS_MIN: i64 = 2;
/// A list of devices fits the kubelet's 4 MiB with about so many entries (65 bytes each); no single device can have more.
const REPLICAS_MAX: i64 = 64_000;

/// More daemons than any node runs.
pub const MOST_DAEMONS: u32 = 1024;

/// More entries than there are XIDs, of which NVIDIA's catalogue has fewer than 200.
const MOST_XIDS: usize = 1024;

/// What was found on the way.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    pub errors: Vec<Finding>,
    pub warnings: Vec<Finding>,
}

/// Judges a file. The config is only to be used where there are no errors.
pub(crate) fn check(file: File, mode: Mode) -> (Config, Judged) {
    let mut judge = Judge { mode, judged: Judged::default() };
    let config = judge.file(file);
    (config, judge.judged)
}

struct Judge {
    mode: Mode,
    judged: Judged,
}

impl Judge {
    fn wrong(&mut self, finding: Finding) {
        self.judged.errors.push(finding);
    }

    /// What cannot be done here: an error, or what NVIDIA's file would do, which is nothing.
    fn refuse(&mut self, finding: Finding) {
        match self.mode {
            Mode::Strict => self.judged.errors.push(finding),
            Mode::Compat => self.judged.warnings.push(finding),
        }
    }

    /// Whether a key of ours, or one that NVIDIA's plugin discards, counts. Told where it does not.
    fn counts(&mut self, path: &str) -> bool {
        if self.mode == Mode::Compat {
            let problem = "has no effect, as in NVIDIA's device plugin; without --compat it has";
            self.judged.warnings.push(Finding::at(path, problem));
        }
        self.mode == Mode::Strict
    }

    fn file(&mut self, file: File) -> Config {
        let File { version, flags, devices, resources, sharing, imex, health, gpu_management } = file;
        if let Some(version) = version.filter(|version| !version.is_empty() && version != VERSION) {
            self.wrong(Finding::of_value("version", version, "unknown version; write v1"));
        }
        let sharing = sharing.unwrap_or_default();
        if sharing.mps.is_some() {
            let problem = "MPS is not supported; share by `timeSlicing`, or leave it out";
            self.refuse(Finding::at("sharing.mps", problem));
        }
        let (gpu_rules, mig_rules) = self.rules(resources.unwrap_or_default());
        Config {
            flags: self.flags(flags.unwrap_or_default()),
            devices: self.devices(devices.unwrap_or_default()),
            gpu_rules,
            mig_rules,
            time_slicing: sharing.time_slicing.map(|part| self.time_slicing(part)),
            imex: self.imex(imex.unwrap_or_default()),
            xids: self.xids(health.unwrap_or_default()),
            gpu_management: gpu_management.and_then(|daemons| self.management(daemons)),
        }
    }

    fn xids(&mut self, part: HealthPart) -> BTreeMap<u64, XidClass> {
        const PATH: &str = "health.xids";
        let mut xids = BTreeMap::new();
        let Some(list) = part.xids.filter(|_| self.counts(PATH)) else { return xids };
        if list.len() > MOST_XIDS {
            let problem = format!("has {} entries; there are fewer than {MOST_XIDS} XIDs", list.len());
            self.wrong(Finding::at(PATH, problem));
            return xids;
        }
        for (index, XidPart { xid, class }) in list.into_iter().enumerate() {
            let path = format!("{PATH}[{index}]");
            let Some(number) = xid.and_then(|xid| u64::try_from(xid).ok()).filter(|xid| *xid > 0) else {
                let found = xid.map_or_else(|| "nothing".to_owned(), |xid| xid.to_string());
                self.wrong(Finding::of_value(
                    format!("{path}.xid"),
                    found,
                    "expected the number of an XID, from 1",
                ));
                continue;
            };
            let Some(class) = class else {
                let problem = "is missing; write application, notice, degraded, ask-driver, ask-driver-first or critical";
                self.wrong(Finding::at(format!("{path}.class"), problem));
                continue;
            };
            if xids.insert(number, class).is_some() {
                self.wrong(Finding::of_value(
                    format!("{path}.xid"),
                    number,
                    "has a class already; name each XID once",
                ));
            }
        }
        xids
    }

    fn management(&mut self, daemons: i64) -> Option<u32> {
        const PATH: &str = "gpuManagement";
        if !self.counts(PATH) {
            return None;
        }
        let found = u32::try_from(daemons).ok().filter(|daemons| *daemons <= MOST_DAEMONS);
        if found.is_none() {
            let problem = format!("expected a number of daemons from 0 to {MOST_DAEMONS}");
            self.wrong(Finding::of_value(PATH, daemons, problem));
        }
        found
    }

    fn flags(&mut self, flags: FlagsPart) -> Flags {
        if flags.mps_root.is_some_and(|root| !root.is_empty()) {
            self.refuse(Finding::at("flags.mpsRoot", "MPS is not supported; leave it out"));
        }
        if flags.device_discovery_strategy == Some(DiscoveryStrategy::Tegra) {
            let problem = "Tegra machines are not supported; write auto or nvml";
            self.wrong(Finding::of_value("flags.deviceDiscoveryStrategy", "tegra", problem));
        }
        Flags {
            mig_strategy: flags.mig_strategy,
            fail_on_init_error: flags.fail_on_init_error,
            driver_root: self.absolute("flags.nvidiaDriverRoot", flags.nvidia_driver_root),
            dev_root: self.absolute("flags.nvidiaDevRoot", flags.nvidia_dev_root),
            gdrcopy: flags.gdrcopy_enabled,
            gds: flags.gds_enabled,
            mofed: flags.mofed_enabled,
            node_feature_api: flags.use_node_feature_api,
            plugin: self.plugin(flags.plugin.unwrap_or_default()),
            gfd: self.gfd(flags.gfd.unwrap_or_default()),
        }
    }

    fn plugin(&mut self, plugin: PluginPart) -> PluginFlags {
        let strategies = plugin.device_list_strategy.map(|OneOrMore(list)| list);
        if strategies.as_ref().is_some_and(Vec::is_empty) {
            let problem = "names no strategy; write one of envvar, volume-mounts, cdi-annotations, cdi-cri";
            self.wrong(Finding::at("flags.plugin.deviceListStrategy", problem));
        }
        let container_root = self.absolute("flags.plugin.containerDriverRoot", plugin.container_driver_root);
        PluginFlags {
            container_driver_root: container_root,
            pass_device_specs: plugin.pass_device_specs,
            device_list_strategies: strategies,
            device_id_strategy: plugin.device_id_strategy,
            cdi_annotation_prefix: plugin.cdi_annotation_prefix,
            cdi_hook_path: self.absolute("flags.plugin.nvidiaCTKPath", plugin.nvidia_ctk_path),
            shared_policy: plugin.shared_devices_allocation_policy,
        }
    }

    fn gfd(&mut self, gfd: GfdPart) -> GfdFlags {
        let sleep_interval = gfd.sleep_interval.and_then(|text| match text.parse() {
            Ok(interval) => Some(interval),
            Err(problem) => {
                self.wrong(Finding::of_value("flags.gfd.sleepInterval", text, problem));
                None
            }
        });
        GfdFlags {
            oneshot: gfd.oneshot,
            no_timestamp: gfd.no_timestamp,
            sleep_interval,
            output_file: gfd.output_file,
            machine_type_file: gfd.machine_type_file,
        }
    }

    fn absolute(&mut self, path: &str, value: Option<String>) -> Option<String> {
        let value = value.filter(|value| !value.is_empty())?;
        if !value.starts_with('/') {
            self.wrong(Finding::of_value(path, &value, "expected an absolute path"));
        }
        Some(value)
    }

    fn devices(&mut self, part: DevicesPart) -> DeviceFilter {
        if (part.include.is_some() || part.exclude.is_some()) && !self.counts("devices") {
            return DeviceFilter::default();
        }
        if part.include.as_ref().is_some_and(Vec::is_empty) {
            self.wrong(Finding::at(
                "devices.include",
                "is empty, so that no GPU would be offered; leave it out",
            ));
        }
        DeviceFilter {
            include: part.include.map(|list| self.selectors("devices.include", list)),
            exclude: self.selectors("devices.exclude", part.exclude.unwrap_or_default()),
        }
    }

    fn selectors(&mut self, path: &str, list: Vec<NumberOrText>) -> Vec<GpuSelector> {
        let mut selectors = Vec::new();
        for (index, NumberOrText(text)) in list.into_iter().enumerate() {
            match text.parse() {
                Ok(selector) => selectors.push(selector),
                Err(error) => {
                    self.wrong(Finding::at(format!("{path}[{index}]"), format!("{error}")));
                }
            }
        }
        selectors
    }

    fn rules(&mut self, part: ResourcesPart) -> (Vec<GpuRule>, Vec<MigRule>) {
        let said = part.gpus.as_ref().is_some_and(|list| !list.is_empty())
            || part.mig.as_ref().is_some_and(|list| !list.is_empty());
        if !said || !self.counts("resources") {
            return (Vec::new(), Vec::new());
        }
        let mut gpus = Vec::new();
        for (index, rule) in part.gpus.into_iter().flatten().enumerate() {
            gpus.extend(self.gpu_rule(&format!("resources.gpus[{index}]"), rule));
        }
        let mut mig = Vec::new();
        for (index, MigRulePart { pattern, name }) in part.mig.into_iter().flatten().enumerate() {
            let path = format!("resources.mig[{index}]");
            let pattern =
                self.present(&format!("{path}.pattern"), pattern, "a profile such as 1g.10gb, or *");
            let resource = self.resource(&format!("{path}.name"), name);
            mig.extend(
                pattern
                    .zip(resource)
                    .map(|(text, resource)| MigRule { profile: Pattern::new(text), resource }),
            );
        }
        (gpus, mig)
    }

    fn gpu_rule(&mut self, path: &str, rule: GpuRulePart) -> Option<GpuRule> {
        let GpuRulePart { pattern, name, memory, compute_capability } = rule;
        let memory = self.range(&format!("{path}.memory"), memory);
        let capability = self.range(&format!("{path}.computeCapability"), compute_capability);
        let pattern = match pattern {
            // Memory or capability choose well enough.
            None if !memory.is_open() || !capability.is_open() => Some("*".to_owned()),
            pattern => self.present(&format!("{path}.pattern"), pattern, "a product's name, or *"),
        };
        let resource = self.resource(&format!("{path}.name"), name)?;
        Some(GpuRule { product: Pattern::new(pattern?), memory, compute_capability: capability, resource })
    }

    fn range<T>(&mut self, path: &str, part: Option<RangePart>) -> Range<T>
    where
        T: std::str::FromStr<Err = &'static str> + PartialOrd + Copy,
    {
        let Some(RangePart { min, max }) = part else { return Range::default() };
        let mut end = |key: &str, text: Option<String>| {
            let text = text?;
            let read = text.parse();
            read.map_err(|problem| self.wrong(Finding::of_value(format!("{path}.{key}"), text, problem))).ok()
        };
        let range = Range { min: end("min", min), max: end("max", max) };
        if range.min.zip(range.max).is_some_and(|(min, max)| min > max) {
            self.wrong(Finding::at(path, "min is above max, so that nothing fits"));
        }
        range
    }

    fn present(&mut self, path: &str, value: Option<String>, expected: &str) -> Option<String> {
        let value = value.filter(|value| !value.is_empty());
        if value.is_none() {
            self.wrong(Finding::at(path, format!("is missing; expected {expected}")));
        }
        value
    }

    /// A resource's name, with NVIDIA's domain where it has none.
    fn resource(&mut self, path: &str, name: Option<String>) -> Option<ResourceName> {
        let name = self.present(path, name, "a resource such as nvidia.com/gpu")?;
        let whole = if name.contains('/') { name } else { format!("{NVIDIA_DOMAIN}/{name}") };
        match whole.parse() {
            Ok(_) if whole == RESOURCE_GPU_MANAGEMENT => {
                let problem = "is what `gpuManagement` offers, of all GPUs; take another name";
                self.wrong(Finding::of_value(path, whole, problem));
                None
            }
            Ok(resource) => Some(resource),
            Err(error) => {
                self.wrong(Finding::at(path, format!("{error}")));
                None
            }
        }
    }

    fn time_slicing(&mut self, part: TimeSlicingPart) -> TimeSlicing {
        let by_default = part.rename_by_default.unwrap_or(false);
        let mut resources: Vec<SharedResource> = Vec::new();
        let list = part.resources.unwrap_or_default();
        if list.is_empty() {
            let problem = "no resources specified; name one with its replicas, or leave `timeSlicing` out";
            self.wrong(Finding::at("sharing.timeSlicing.resources", problem));
        }
        for (index, shared) in list.into_iter().enumerate() {
            let path = format!("sharing.timeSlicing.resources[{index}]");
            let Some(shared) = self.shared(&path, shared, by_default) else { continue };
            if let Some(other) = resources.iter().position(|other| overlap(other, &shared)) {
                let problem =
                    format!("shares devices that entry {other} shares already; name each device once");
                self.wrong(Finding::at(&path, problem));
            }
            resources.push(shared);
        }
        let fail = part.fail_requests_greater_than_one.unwrap_or(false);
        TimeSlicing { fail_requests_greater_than_one: fail, resources }
    }

    fn shared(&mut self, path: &str, part: SharedPart, by_default: bool) -> Option<SharedResource> {
        let SharedPart { name, rename, devices, replicas } = part;
        let resource = self.resource(&format!("{path}.name"), name);
        let at = |key: &str| format!("{path}.{key}");
        let rename = rename.filter(|_| self.counts(&at("rename")));
        let renamed = rename.map(|rename| self.resource(&at("rename"), Some(rename)));
        let chosen = devices.filter(|devices| *devices != Devices::All);
        let devices = chosen.filter(|_| self.counts(&at("devices"))).unwrap_or_default();
        let replicas = match replicas {
            Some(replicas @ REPLICAS_MIN..=REPLICAS_MAX) => u32::try_from(replicas).ok(),
            Some(wrong) => {
                let problem =
                    format!("number of replicas must be >= {REPLICAS_MIN}, and at most {REPLICAS_MAX}");
                self.wrong(Finding::of_value(at("replicas"), wrong, problem));
                None
            }
            None => {
                self.wrong(Finding::at(at("replicas"), format!("is missing; write {REPLICAS_MIN} or more")));
                None
            }
        };
        let (resource, replicas) = (resource?, replicas?);
        let shared_as = match renamed {
            Some(name) => name?,
            None if by_default => self.resource(&at("name"), Some(format!("{resource}.shared")))?,
            None => resource.clone(),
        };
        Some(SharedResource { resource, shared_as, devices, replicas })
    }

    fn imex(&mut self, part: ImexPart) -> Imex {
        let channels = part.channel_ids.unwrap_or_default();
        if !matches!(channels.as_slice(), [] | [0]) {
            let value = format!("{channels:?}");
            self.wrong(Finding::of_value("imex.channelIDs", value, "only [] and [0] can be"));
        }
        let required = part.required.unwrap_or(false);
        if required && channels.is_empty() {
            let problem = "nothing is required without a channel; write channelIDs: [0]";
            self.refuse(Finding::at("imex.required", problem));
        }
        Imex { channel: !channels.is_empty(), required }
    }
}

/// Whether two entries surely share a device.
fn overlap(one: &SharedResource, other: &SharedResource) -> bool {
    if one.resource != other.resource {
        return false;
    }
    match (&one.devices, &other.devices) {
        (Devices::These(one), Devices::These(other)) => one.iter().any(|device| other.contains(device)),
        // Which those are, only a node tells.
        (Devices::Count(_), Devices::These(_)) | (Devices::These(_), Devices::Count(_)) => false,
        // All has every device, and two that count do so from the first.
        _ => true,
    }
}
