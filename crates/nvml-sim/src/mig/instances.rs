//! The GPU instances of one GPU: where they lie, what is left, how they come and go. Pure rules over a table.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::table::{Engines, GpuInstanceProfile, MigTable};
use crate::code::Code;
use crate::modes::ComputeMode;

/// MIG of all GPUs of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MigState {
    /// Instances made so far; each has one of these numbers, and none has it again.
    pub made: u32,
    /// By GPU UUID; a GPU without an entry has MIG off.
    pub gpus: BTreeMap<String, GpuMig>,
}

/// MIG of one GPU.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct GpuMig {
    /// Whether MIG is on.
    pub enabled: bool,
    /// Whether it will be on after the next reset.
    pub pending: bool,
    /// GPU instances by id.
    pub instances: BTreeMap<u32, GpuInstance>,
}

/// A GPU instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct GpuInstance {
    /// Its number among all that were ever made on the node.
    pub number: u32,
    /// Id of its profile.
    pub profile: u32,
    /// First memory slice.
    pub start: u32,
    /// Compute instances by id.
    pub compute: BTreeMap<u32, ComputeInstance>,
}

/// A compute instance, which also is a MIG device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ComputeInstance {
    /// Its number among all that were ever made on the node.
    pub number: u32,
    /// Id of its profile.
    pub profile: u32,
    /// First compute slice of its GPU instance.
    pub start: u32,
    /// Index of the MIG device under its GPU.
    pub index: u32,
    /// UUID of the MIG device, `MIG-…`.
    pub uuid: String,
    /// Which processes may compute on it.
    #[serde(default, skip_serializing_if = "ComputeMode::is_default")]
    pub compute_mode: ComputeMode,
}

/// The slices of a placement.
pub(super) fn slices(start: u32, size: u32) -> Range<u32> {
    start..start.saturating_add(size)
}

pub(super) fn overlap(one: &Range<u32>, other: &Range<u32>) -> bool {
    one.start < other.end && other.start < one.end
}

impl MigState {
    /// The number of the next instance.
    pub fn number_next(&mut self) -> u32 {
        self.made = self.made.saturating_add(1);
        self.made
    }
}

impl GpuMig {
    /// The slices that are taken.
    fn taken<'a>(&'a self, table: &'a MigTable) -> impl Iterator<Item = Range<u32>> + 'a {
        self.instances.values().filter_map(|instance| {
            let size = table.by_id(instance.profile)?.size;
            Some(slices(instance.start, size))
        })
    }

    fn used_engines(&self, table: &MigTable) -> Engines {
        let of = |instance: &GpuInstance| table.by_id(instance.profile).map(|profile| profile.engines);
        self.instances.values().filter_map(of).fold(Engines::default(), Engines::plus)
    }

    /// The starts of a profile whose slices are all free.
    fn free(&self, table: &MigTable, profile: &GpuInstanceProfile) -> Vec<u32> {
        let is_free = |start: &u32| {
            let wanted = slices(*start, profile.size);
            !self.taken(table).any(|taken| overlap(&taken, &wanted))
        };
        profile.starts.iter().copied().filter(is_free).collect()
    }

    /// How many more instances of a profile can be made: as slices, engines and the profile's own limit allow.
    /// The starts of one profile never overlap each other.
    pub fn remaining(&self, table: &MigTable, profile: &GpuInstanceProfile) -> u32 {
        let made = self.instances.values().filter(|instance| instance.profile == profile.id).count();
        let own = profile.count.saturating_sub(u32::try_from(made).unwrap_or(u32::MAX));
        let places = u32::try_from(self.free(table, profile).len()).unwrap_or(u32::MAX);
        own.min(places).min(table.engines.times(self.used_engines(table), profile.engines))
    }

    /// The driver's own choice: of the free places the one that takes the fewest free places away from all profiles,
    /// and of several the lowest.
    fn choose(&self, table: &MigTable, profile: &GpuInstanceProfile) -> Option<u32> {
        let cost = |start: &u32| {
            let wanted = slices(*start, profile.size);
            let lost = table.gpu_instances.iter().map(|other| {
                let free = self.free(table, other).into_iter();
                free.filter(|start| overlap(&slices(*start, other.size), &wanted)).count()
            });
            lost.sum::<usize>()
        };
        self.free(table, profile).into_iter().min_by_key(cost)
    }

    /// Makes a GPU instance, at a start or where the driver chooses, and gives its id.
    pub fn create(
        &mut self,
        table: &MigTable,
        profile_id: u32,
        placement: Option<(u32, u32)>,
        number: u32,
    ) -> Result<u32, Code> {
        if !self.enabled {
            return Err(Code::NOT_SUPPORTED);
        }
        let profile = table.by_id(profile_id).ok_or(Code::INVALID_ARGUMENT)?;
        if let Some((start, size)) = placement
            && (size != profile.size || !profile.starts.contains(&start))
        {
            return Err(Code::INVALID_ARGUMENT);
        }
        if self.remaining(table, profile) == 0 {
            return Err(Code::INSUFFICIENT_RESOURCES);
        }
        let start = match placement {
            None => self.choose(table, profile),
            Some((start, _)) => Some(start).filter(|start| self.free(table, profile).contains(start)),
        };
        let start = start.ok_or(Code::INSUFFICIENT_RESOURCES)?;
        let id = profile.instance_id(table, start);
        let made = GpuInstance { number, profile: profile_id, start, compute: BTreeMap::new() };
        self.instances.insert(id, made);
        Ok(id)
    }

    /// Ends a GPU instance; not while it has compute instances.
    pub fn destroy(&mut self, id: u32) -> Result<(), Code> {
        let instance = self.instances.get(&id).ok_or(Code::NOT_FOUND)?;
        if !instance.compute.is_empty() {
            return Err(Code::IN_USE);
        }
        self.instances.remove(&id);
        Ok(())
    }
}
