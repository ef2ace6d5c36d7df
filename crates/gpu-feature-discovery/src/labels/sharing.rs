//! How many containers have a device at once, and whether its resource is called otherwise for that.
//!
//! The rules of an entry are the config's; which device stands under which resource follows the device plugin.

use std::collections::BTreeMap;

use gpu_config::{GpuRule, MigRule, MigStrategy, NamedDevice, NamedMig};
use gpu_model::names::{NVIDIA_DOMAIN, RESOURCE_GPU};
use gpu_model::{Gpu, MigProfile, ResourceName};

use super::node::{Node, Slice};
use crate::facts::Settings;

/// How a device is shared. The order is by replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Share {
    /// How many have it at once; 1 where it is not shared, 0 where it is not handed out itself since MIG is on.
    pub replicas: u32,
    /// Whether the shares have a resource of another name.
    pub is_renamed: bool,
}

impl Share {
    /// Of a GPU that only its MIG devices are handed out of.
    pub const PARTITIONED: Share = Share { replicas: 0, is_renamed: false };

    const NONE: Share = Share { replicas: 1, is_renamed: false };

    /// How it is shared, as a label's value.
    pub fn strategy(self) -> &'static str {
        if self.replicas > 1 { "time-slicing" } else { "none" }
    }

    /// What stands behind a product for it: a pod that asks for a resource should know when it gets a share only.
    pub fn suffix(self) -> &'static str {
        if self.replicas > 1 && !self.is_renamed { "-SHARED" } else { "" }
    }
}

/// The shares of a node's devices, by UUID.
#[derive(Debug)]
pub(super) struct Shares<'a>(BTreeMap<&'a str, Share>);

impl<'a> Shares<'a> {
    pub fn new(node: &Node<'a>, settings: &Settings) -> Self {
        let mut shares = BTreeMap::new();
        let Some(sharing) = &settings.time_slicing else { return Self(shares) };
        let mut positions: BTreeMap<ResourceName, usize> = BTreeMap::new();
        let mut share = |uuid: &'a str, resource: Option<ResourceName>, device: NamedDevice<'_>| {
            let Some(resource) = resource else { return };
            let at = positions.entry(resource.clone()).or_default();
            if let Some((_, entry)) = sharing.entry(&resource, *at, Some(device)) {
                let is_renamed = entry.shared_as != entry.resource;
                shares.insert(uuid, Share { replicas: entry.replicas, is_renamed });
            }
            *at += 1;
        };
        // A device's position is counted by indexes.
        let mut gpus = node.gpus.clone();
        gpus.sort_by_key(|gpu| (gpu.index, &gpu.uuid));
        // Without a strategy a partitioned GPU is handed out whole, too, and counts among them.
        let is_whole = |gpu: &&&Gpu| settings.mig_strategy == MigStrategy::None || !gpu.is_partitioned();
        for gpu in gpus.iter().filter(is_whole) {
            let device = NamedDevice { gpu_index: gpu.index, gpu: &gpu.uuid, mig: None };
            share(gpu.uuid.as_str(), gpu_resource(gpu, &settings.gpu_rules), device);
        }
        let mut slices = node.slices();
        slices.sort_by_key(|(gpu, mig)| (gpu.index, &gpu.uuid, mig.index, &mig.uuid));
        for (gpu, mig) in slices {
            let named = NamedMig {
                index: mig.index,
                uuid: &mig.uuid,
                gpu_instance: mig.gpu_instance,
                compute_instance: mig.compute_instance,
            };
            let device = NamedDevice { gpu_index: gpu.index, gpu: &gpu.uuid, mig: Some(named) };
            let resource = mig_resource(mig.profile, settings.mig_strategy, &settings.mig_rules);
            share(mig.uuid.as_str(), resource, device);
        }
        Self(shares)
    }

    /// How GPUs are shared that are handed out whole: as most of them are; of several, the one with most replicas.
    pub fn of_gpus(&self, gpus: &[&Gpu]) -> Share {
        self.most(gpus.iter().map(|gpu| gpu.uuid.as_str()))
    }

    /// As [`Shares::of_gpus`], for MIG devices.
    pub fn of_slices(&self, slices: &[Slice<'_>]) -> Share {
        self.most(slices.iter().map(|(_, mig)| mig.uuid.as_str()))
    }

    fn most<'b>(&self, uuids: impl Iterator<Item = &'b str>) -> Share {
        let mut counts: BTreeMap<Share, usize> = BTreeMap::new();
        for uuid in uuids {
            *counts.entry(self.0.get(uuid).copied().unwrap_or(Share::NONE)).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(share, count)| (*count, *share));
        most.map_or(Share::NONE, |(share, _)| share)
    }
}

fn gpu_resource(gpu: &Gpu, rules: &[GpuRule]) -> Option<ResourceName> {
    let rule = rules.iter().find(|rule| rule.fits(gpu));
    rule.map(|rule| rule.resource.clone()).or_else(|| RESOURCE_GPU.parse().ok())
}

fn mig_resource(profile: MigProfile, strategy: MigStrategy, rules: &[MigRule]) -> Option<ResourceName> {
    if let Some(rule) = rules.iter().find(|rule| rule.fits(profile)) {
        return Some(rule.resource.clone());
    }
    match strategy {
        MigStrategy::None => None,
        MigStrategy::Single => RESOURCE_GPU.parse().ok(),
        MigStrategy::Mixed => format!("{NVIDIA_DOMAIN}/{}", profile.resource()).parse().ok(),
    }
}
