//! Workload power profiles.

use std::collections::BTreeSet;

use nvml_sim::ProfileChange;
use nvml_wrapper_sys::bindings::*;

use super::{exports, gpu};
use crate::from_c::version_word;
use crate::structs::nvmlWorkloadPowerProfileUpdateProfiles_v1_t;

/// Bits in a word of a mask.
const WORD_BITS: u32 = u32::BITS;

fn mask_of(ids: impl IntoIterator<Item = u32>) -> nvmlMask255_t {
    let mut mask = [0; 8];
    for id in ids {
        if let Some(word) = mask.get_mut((id / WORD_BITS) as usize) {
            *word |= 1 << (id % WORD_BITS);
        }
    }
    nvmlMask255_t { mask }
}

fn ids_in(mask: nvmlMask255_t) -> BTreeSet<u32> {
    let bits =
        (0..WORD_BITS).flat_map(|bit| (0..).zip(mask.mask).map(move |(index, word)| (bit, index, word)));
    bits.filter(|(bit, _, word)| word >> bit & 1 == 1)
        .map(|(bit, index, _)| index * WORD_BITS + bit)
        .collect()
}

exports! {
    fn nvmlDeviceWorkloadPowerProfileGetProfilesInfo(
        device: nvmlDevice_t, info: *mut nvmlWorkloadPowerProfileProfilesInfo_t
    ) => |call| {
        let version = info.expect_version(1)?;
        let profiles = gpu(call, &device)?.power_profiles()?;
        let word = version_word::<nvmlWorkloadPowerProfileInfo_t>(1);
        let none = nvmlWorkloadPowerProfileInfo_t {
            version: word, profileId: 0, priority: 0, conflictingMask: mask_of([]),
        };
        let mut list = [none; 255];
        for profile in &profiles {
            if let Some(place) = list.get_mut(profile.id as usize) {
                place.profileId = profile.id;
                place.priority = profile.id;
                place.conflictingMask = mask_of(profile.conflicts_with);
            }
        }
        let mask = mask_of(profiles.iter().map(|profile| profile.id));
        info.put(nvmlWorkloadPowerProfileProfilesInfo_t { version, perfProfilesMask: mask, perfProfile: list })
    };
    fn nvmlDeviceWorkloadPowerProfileGetCurrentProfiles(
        device: nvmlDevice_t, current: *mut nvmlWorkloadPowerProfileCurrentProfiles_t
    ) => |call| {
        let version = current.expect_version(1)?;
        let view = gpu(call, &device)?;
        current.put(nvmlWorkloadPowerProfileCurrentProfiles_t {
            version,
            perfProfilesMask: mask_of(view.power_profiles()?.iter().map(|profile| profile.id)),
            requestedProfilesMask: mask_of(view.requested_power_profiles()?),
            enforcedProfilesMask: mask_of(view.enforced_power_profiles()?),
        })
    };
    fn nvmlDeviceWorkloadPowerProfileSetRequestedProfiles(
        device: nvmlDevice_t, wanted: *mut nvmlWorkloadPowerProfileRequestedProfiles_t
    ) => |call| {
        wanted.expect_version(1)?;
        let (view, ids) = (gpu(call, &device)?, ids_in(wanted.get()?.requestedProfilesMask));
        call.library.change_power_profiles(view, ProfileChange::Add, &ids)
    };
    fn nvmlDeviceWorkloadPowerProfileClearRequestedProfiles(
        device: nvmlDevice_t, wanted: *mut nvmlWorkloadPowerProfileRequestedProfiles_t
    ) => |call| {
        wanted.expect_version(1)?;
        let (view, ids) = (gpu(call, &device)?, ids_in(wanted.get()?.requestedProfilesMask));
        call.library.change_power_profiles(view, ProfileChange::Clear, &ids)
    };
    fn nvmlDeviceWorkloadPowerProfileUpdateProfiles_v1(
        device: nvmlDevice_t, update: *mut nvmlWorkloadPowerProfileUpdateProfiles_v1_t
    ) in "13.1" => |call| {
        let view = gpu(call, &device)?;
        let update = update.get()?;
        let change = ProfileChange::from_number(update.operation);
        view.power_profiles()?;
        call.library.change_power_profiles(view, change?, &ids_in(update.updateProfilesMask))
    };
}
