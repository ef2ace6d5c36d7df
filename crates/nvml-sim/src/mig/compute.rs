//! The compute instances of a GPU instance, and the index of the MIG device that each one is.

use super::instances::{ComputeInstance, GpuInstance, GpuMig, overlap, slices};
use super::table::{ComputeInstanceProfile, GpuInstanceProfile, MigTable};
use crate::code::Code;
use crate::identity;
use crate::modes::ComputeMode;

impl GpuInstance {
    /// The starts of a compute instance profile whose slices are all free, ascending.
    fn free(&self, table: &MigTable, of: &GpuInstanceProfile, profile: &ComputeInstanceProfile) -> Vec<u32> {
        let size_of = |id: u32| table.compute_of(of).find(|known| known.id == id).map(|known| known.slices);
        let is_free = |start: &u32| {
            let wanted = slices(*start, profile.slices);
            let mut taken = self.compute.values().filter_map(|made| {
                let size = size_of(made.profile)?;
                Some(slices(made.start, size))
            });
            !taken.any(|taken| overlap(&taken, &wanted))
        };
        profile.starts(of).filter(is_free).collect()
    }

    /// How many more compute instances of a profile can be made.
    pub fn remaining(
        &self,
        table: &MigTable,
        of: &GpuInstanceProfile,
        profile: &ComputeInstanceProfile,
    ) -> u32 {
        u32::try_from(self.free(table, of, profile).len()).unwrap_or(u32::MAX)
    }
}

impl GpuMig {
    /// The lowest index that no MIG device of the GPU has.
    fn free_index(&self) -> u32 {
        let taken = |index: u32| {
            let mut devices = self.instances.values().flat_map(|instance| instance.compute.values());
            devices.any(|device| device.index == index)
        };
        (0..u32::MAX).find(|index| !taken(*index)).unwrap_or(u32::MAX)
    }

    /// Makes a compute instance, at a start or at the lowest free one, and gives its id: the lowest free one.
    pub fn create_compute(
        &mut self,
        table: &MigTable,
        (gpu, instance_id): (&str, u32),
        profile_id: u32,
        placement: Option<(u32, u32)>,
        number: u32,
    ) -> Result<u32, Code> {
        let index = self.free_index();
        let instance = self.instances.get_mut(&instance_id).ok_or(Code::NOT_FOUND)?;
        let of = table.by_id(instance.profile).ok_or(Code::INVALID_ARGUMENT)?;
        let profile = table.compute_of(of).find(|known| known.id == profile_id);
        let profile = profile.ok_or(Code::INVALID_ARGUMENT)?;
        let free = instance.free(table, of, profile);
        let start = match placement {
            None => free.first().copied(),
            Some((start, size)) => {
                if size != profile.slices || !profile.starts(of).any(|known| known == start) {
                    return Err(Code::INVALID_ARGUMENT);
                }
                Some(start).filter(|start| free.contains(start))
            }
        };
        let start = start.ok_or(Code::INSUFFICIENT_RESOURCES)?;
        let id = (0..u32::MAX).find(|id| !instance.compute.contains_key(id)).unwrap_or(u32::MAX);
        let uuid = identity::mig_uuid(gpu, instance_id, id);
        let made = ComputeInstance {
            number,
            profile: profile_id,
            start,
            index,
            uuid,
            compute_mode: ComputeMode::Default,
        };
        instance.compute.insert(id, made);
        Ok(id)
    }

    /// Ends a compute instance.
    pub fn destroy_compute(&mut self, instance_id: u32, id: u32) -> Result<(), Code> {
        let instance = self.instances.get_mut(&instance_id).ok_or(Code::NOT_FOUND)?;
        instance.compute.remove(&id).map(|_| ()).ok_or(Code::NOT_FOUND)
    }
}
