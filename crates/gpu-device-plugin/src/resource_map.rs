//! Which devices stand under which resource. Pure and total: offering × GPUs -> resources.
//!
//! ```text
//!   GPUs --(filter)--> units: whole GPUs and MIG devices --(strategy, rules)--> resource --(sharing)--> name and shares
//! ```
//!
//! It follows NVIDIA's device plugin in names and strategies, but for nodes on which that one offers nothing at all: a
//! node whose MIG devices are uneven offers those of most under `single`, and a GPU instance that is split has its
//! parts offered under `mixed`.

use std::collections::BTreeMap;
use std::fmt;

use gpu_config::{DeviceFilter, GpuRule, MigRule, MigStrategy, NamedDevice, NamedMig};
use gpu_model::names::{NVIDIA_DOMAIN, RESOURCE_GPU, RESOURCE_GPU_MANAGEMENT};
use gpu_model::{Gpu, GpuUuid, MigDevice, MigProfile, MigUuid, ResourceName};

use crate::device_id::DeviceId;
use crate::offering::Offering;

mod limits;
mod sharing;

/// What the kubelet hands out, before it is shared: the CDI spec has a device of this name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// A whole GPU.
    Gpu(GpuUuid),
    /// A MIG device.
    Mig(MigUuid),
    /// The device nodes of all GPUs, for daemons of the node.
    Management,
}

impl Unit {
    /// The UUID, or the name in the CDI spec.
    pub fn as_str(&self) -> &str {
        match self {
            Unit::Management => cdi::builder::MANAGEMENT,
            Unit::Gpu(uuid) => uuid.as_str(),
            Unit::Mig(uuid) => uuid.as_str(),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A unit under its resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// What it is.
    pub unit: Unit,
    /// The GPU that it is, or is part of; none where it stands for all.
    pub gpu: Option<OfGpu>,
    /// The GPU instance and the compute instance of a MIG device, and its index on the GPU.
    pub mig: Option<MigPlace>,
    /// NUMA node of the CPUs next to it.
    pub numa_node: Option<u32>,
    /// How many containers may have it at once, each by an id of its own; none for a device that is not shared.
    pub shares: Option<u32>,
}

/// A GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfGpu {
    /// Its UUID.
    pub uuid: GpuUuid,
    /// Its index.
    pub index: u32,
}

/// Where on its GPU a MIG device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MigPlace {
    /// Its index, as NVML enumerates.
    pub index: u32,
    /// Id of its GPU instance.
    pub gpu_instance: u32,
    /// Id of its compute instance.
    pub compute_instance: u32,
}

impl Offered {
    /// A GPU that is offered whole.
    pub fn whole(gpu: GpuUuid, gpu_index: u32, numa_node: Option<u32>) -> Self {
        let of = OfGpu { uuid: gpu.clone(), index: gpu_index };
        Self { unit: Unit::Gpu(gpu), gpu: Some(of), mig: None, numa_node, shares: None }
    }

    /// What daemons of the node have, so many of them at once.
    pub fn management(daemons: u32) -> Self {
        Self { unit: Unit::Management, gpu: None, mig: None, numa_node: None, shares: Some(daemons) }
    }

    /// UUID of the GPU that it is, or is part of.
    pub fn gpu(&self) -> Option<&GpuUuid> {
        self.gpu.as_ref().map(|gpu| &gpu.uuid)
    }

    /// Whether this id is one of its.
    pub fn has(&self, id: DeviceId<'_>) -> bool {
        id.unit == self.unit.as_str()
            && match (id.share, self.shares) {
                (None, None) => true,
                (Some(share), Some(shares)) => share < shares,
                _ => false,
            }
    }

    fn of_mig(gpu: &Gpu, mig: &MigDevice) -> Self {
        let place = MigPlace {
            index: mig.index,
            gpu_instance: mig.gpu_instance,
            compute_instance: mig.compute_instance,
        };
        Self { unit: Unit::Mig(mig.uuid.clone()), mig: Some(place), ..Self::of_gpu(gpu) }
    }

    fn of_gpu(gpu: &Gpu) -> Self {
        Self::whole(gpu.uuid.clone(), gpu.index, gpu.numa_node.value().copied())
    }

    /// How many ids it has: one, or one for each share.
    pub fn count(&self) -> u32 {
        self.shares.unwrap_or(1)
    }

    /// By all its names; none for what is no device of its own.
    fn named(&self) -> Option<NamedDevice<'_>> {
        let gpu = self.gpu.as_ref()?;
        let mig = match (&self.unit, self.mig) {
            (Unit::Mig(uuid), Some(place)) => Some(NamedMig {
                index: place.index,
                uuid,
                gpu_instance: place.gpu_instance,
                compute_instance: place.compute_instance,
            }),
            _ => None,
        };
        Some(NamedDevice { gpu_index: gpu.index, gpu: &gpu.uuid, mig })
    }
}

/// What a node offers, and why not more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceMap {
    /// Each resource's devices, by the order of GPUs and then of MIG indexes.
    pub resources: BTreeMap<ResourceName, Vec<Offered>>,
    /// What a person should know: GPUs that are left out, and settings that meet nothing.
    pub remarks: Vec<String>,
}

/// What `gpus` offer under `offering`. A resource whose devices are all away is still there if its GPUs are.
pub fn resource_map(offering: &Offering, gpus: &[Gpu]) -> ResourceMap {
    let mut remarks = Vec::new();
    let mut gpus: Vec<&Gpu> =
        gpus.iter().filter(|gpu| is_meant(gpu, &offering.filter, &mut remarks)).collect();
    gpus.sort_by_key(|gpu| gpu.index);
    let units = match offering.mig_strategy {
        MigStrategy::None => none(&gpus, offering, &mut remarks),
        MigStrategy::Single => single(&gpus, offering, &mut remarks),
        MigStrategy::Mixed => mixed(&gpus, offering, &mut remarks),
    };
    let mut named: BTreeMap<ResourceName, Vec<Offered>> = BTreeMap::new();
    for (resource, offered) in units {
        named.entry(resource).or_default().push(offered);
    }
    let mut resources = sharing::share(named, offering.time_slicing.as_ref(), &mut remarks);
    // Of all GPUs, whatever filters and rules say of each: who manages them sees them all.
    if offering.management > 0 {
        resources.insert(management_resource(), vec![Offered::management(offering.management)]);
    }
    ResourceMap { resources, remarks }
}

fn is_meant(gpu: &Gpu, filter: &DeviceFilter, remarks: &mut Vec<String>) -> bool {
    let Some(reason) = filter.leaves_out(gpu) else { return true };
    remarks.push(format!("GPU {} ({}) is not offered: {reason}", gpu.index, gpu.uuid));
    false
}

type Named = Vec<(ResourceName, Offered)>;

/// Each GPU whole, also one that is partitioned: so NVIDIA's device plugin has it.
fn none(gpus: &[&Gpu], offering: &Offering, remarks: &mut Vec<String>) -> Named {
    for gpu in gpus.iter().filter(|gpu| gpu.is_partitioned()) {
        remarks.push(format!("GPU {} ({}) has MIG on and is offered whole: CUDA sees none of it but through MIG devices, which the strategies `single` and `mixed` offer", gpu.index, gpu.uuid));
    }
    whole(gpus.iter().copied(), offering)
}

/// MIG devices of one profile as `nvidia.com/gpu`; whole GPUs only where no GPU is partitioned.
fn single(gpus: &[&Gpu], offering: &Offering, remarks: &mut Vec<String>) -> Named {
    let partitioned: Vec<&Gpu> = gpus.iter().copied().filter(|gpu| gpu.is_partitioned()).collect();
    if partitioned.is_empty() {
        return whole(gpus.iter().copied(), offering);
    }
    for gpu in gpus.iter().filter(|gpu| !gpu.is_partitioned()) {
        remarks.push(format!("GPU {} ({}) is not offered: it is whole, and under the MIG strategy `single` whole GPUs never stand beside MIG devices", gpu.index, gpu.uuid));
    }
    tell_empty(&partitioned, remarks);
    let mut profiles: BTreeMap<&MigProfile, usize> = BTreeMap::new();
    for mig in partitioned.iter().flat_map(|gpu| &gpu.mig_devices) {
        *profiles.entry(&mig.profile).or_default() += 1;
    }
    let most = profiles.values().copied().max().unwrap_or(0);
    let mut leaders = profiles.iter().filter(|(_, count)| **count == most).map(|(profile, _)| *profile);
    let (Some(leader), None) = (leaders.next(), leaders.next()) else {
        if most > 0 {
            let counts: Vec<String> =
                profiles.iter().map(|(profile, count)| format!("{count} of {profile}")).collect();
            remarks.push(format!("no MIG device is offered: the MIG strategy `single` offers the profile that most have, and there are {}; choose the strategy `mixed`, or partition the GPUs alike", counts.join(", ")));
        }
        return Vec::new();
    };
    let left_out: Vec<String> = profiles
        .iter()
        .filter(|(profile, _)| **profile != leader)
        .map(|(profile, count)| format!("{count} of {profile}"))
        .collect();
    if !left_out.is_empty() {
        remarks.push(format!("MIG devices are not offered: {}; under the MIG strategy `single` those of the profile that most have are, which is {leader}", left_out.join(", ")));
    }
    let of_leader = migs(&partitioned).filter(|(_, mig)| mig.profile == *leader);
    let named = of_leader.map(|(gpu, mig)| {
        (mig_rule(mig, &offering.mig_rules).unwrap_or_else(gpu_resource), Offered::of_mig(gpu, mig))
    });
    named.collect()
}

/// Whole GPUs as `nvidia.com/gpu`, and MIG devices each under its profile's name.
fn mixed(gpus: &[&Gpu], offering: &Offering, remarks: &mut Vec<String>) -> Named {
    let (partitioned, untouched): (Vec<&Gpu>, Vec<&Gpu>) =
        gpus.iter().copied().partition(|gpu| gpu.is_partitioned());
    tell_empty(&partitioned, remarks);
    let mut named = whole(untouched.into_iter(), offering);
    for (gpu, mig) in migs(&partitioned) {
        match mig_rule(mig, &offering.mig_rules).or_else(|| mig_resource(&mig.profile)) {
            Some(resource) => named.push((resource, Offered::of_mig(gpu, mig))),
            None => remarks.push(format!(
                "MIG device {} is not offered: no resource can be named after its profile {}",
                mig.uuid, mig.profile
            )),
        }
    }
    named
}

fn whole<'a>(gpus: impl Iterator<Item = &'a Gpu>, offering: &Offering) -> Named {
    gpus.map(|gpu| (gpu_rule(gpu, &offering.gpu_rules), Offered::of_gpu(gpu))).collect()
}

fn migs<'a>(gpus: &'a [&'a Gpu]) -> impl Iterator<Item = (&'a Gpu, &'a MigDevice)> {
    gpus.iter().flat_map(|gpu| gpu.mig_devices.iter().map(|mig| (*gpu, mig)))
}

fn tell_empty(partitioned: &[&Gpu], remarks: &mut Vec<String>) {
    for gpu in partitioned.iter().filter(|gpu| gpu.mig_devices.is_empty()) {
        remarks.push(format!(
            "GPU {} ({}) is not offered: MIG is on, and it has no MIG device",
            gpu.index, gpu.uuid
        ));
    }
}

fn gpu_rule(gpu: &Gpu, rules: &[GpuRule]) -> ResourceName {
    rules.iter().find(|rule| rule.fits(gpu)).map_or_else(gpu_resource, |rule| rule.resource.clone())
}

fn mig_rule(mig: &MigDevice, rules: &[MigRule]) -> Option<ResourceName> {
    rules.iter().find(|rule| rule.fits(mig.profile)).map(|rule| rule.resource.clone())
}

/// The resource of a profile, as NVIDIA's device plugin names it.
fn mig_resource(profile: &MigProfile) -> Option<ResourceName> {
    format!("{NVIDIA_DOMAIN}/{}", profile.resource()).parse().ok()
}

#[expect(clippy::expect_used, reason = "a constant, which a test of its module reads")]
fn gpu_resource() -> ResourceName {
    RESOURCE_GPU.parse().expect("nvidia.com/gpu is a resource name")
}

#[expect(clippy::expect_used, reason = "a constant, which a test of its module reads")]
fn management_resource() -> ResourceName {
    RESOURCE_GPU_MANAGEMENT.parse().expect("gantry.dev/gpu-management is a resource name")
}

#[cfg(test)]
mod tests;
