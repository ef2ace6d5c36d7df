//! Staging by examples and by properties.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::resource_map::MigPlace;
use crate::state::tests::gpu;

const GPU: &str = "nvidia.com/gpu";

fn mig(gpu_number: usize, part: u32) -> String {
    format!("MIG-00000000-0000-0000-{gpu_number:04x}-{part:012x}")
}

fn whole(n: usize, shares: Option<u32>) -> Offered {
    Offered { shares, ..Offered::whole(gpu(n), n as u32, None) }
}

fn part(n: usize, part: u32, shares: Option<u32>) -> Offered {
    let place = MigPlace { index: part, gpu_instance: part + 1, compute_instance: 0 };
    Offered { unit: Unit::Mig(mig(n, part).parse().unwrap()), mig: Some(place), ..whole(n, shares) }
}

fn map(devices: Vec<(&str, Offered)>) -> BTreeMap<ResourceName, Vec<Offered>> {
    let mut map = BTreeMap::<ResourceName, Vec<Offered>>::new();
    for (resource, device) in devices {
        map.entry(resource.parse().unwrap()).or_default().push(device);
    }
    map
}

/// Held ids; MIG devices made by [`mig`] are known by their GPU.
fn held(ids: &[(&str, String)]) -> Held {
    let mut held = Held::default();
    for (resource, id) in ids {
        held.ids.entry(resource.parse().unwrap()).or_default().insert(id.clone());
        let unit = DeviceId::parse(id).unwrap().unit;
        if let Ok(uuid) = unit.parse() {
            let number = usize::from_str_radix(&unit[23..27], 16).unwrap();
            held.mig_gpus.insert(uuid, gpu(number));
        }
    }
    held
}

fn retired(staged: &Staged) -> Vec<(&str, &str)> {
    staged.retired.iter().flat_map(|(name, ids)| ids.iter().map(|id| (name.as_str(), id.as_str()))).collect()
}

#[test]
fn held_whole_gpu_is_not_shared_before_it_is_released_and_the_others_are_at_once() {
    let id = gpu(0).to_string();
    let new = map(vec![(GPU, whole(0, Some(4))), (GPU, whole(1, Some(4)))]);
    let staged = stage(new.clone(), &held(&[(GPU, id.clone())]));
    assert_eq!(staged.resources, map(vec![(GPU, whole(1, Some(4)))]));
    assert_eq!(retired(&staged), [(GPU, id.as_str())]);
    let remarks = staged.remarks().join("\n");
    assert!(
        remarks.contains(&format!("4 shares of GPU 0 ({id}) will be offered as {GPU} when a pod releases")),
        "{remarks}"
    );
    assert_eq!(stage(new.clone(), &Held::default()).resources, new);
}

#[test]
fn fewer_shares_are_in_force_at_once_and_the_held_one_beyond_them_stays_listed() {
    let (kept, gone) = (format!("{}::1", gpu(0)), format!("{}::3", gpu(0)));
    let new = map(vec![(GPU, whole(0, Some(2)))]);
    let staged = stage(new.clone(), &held(&[(GPU, kept), (GPU, gone.clone())]));
    assert_eq!(staged.resources, new);
    assert_eq!(retired(&staged), [(GPU, gone.as_str())]);
}

#[test]
fn gpu_that_is_held_under_its_old_name_is_not_offered_under_the_new_one() {
    let id = gpu(0).to_string();
    let staged = stage(map(vec![("nvidia.com/a100", whole(0, None))]), &held(&[(GPU, id.clone())]));
    assert_eq!(
        staged.resources,
        map(vec![("nvidia.com/a100", whole(0, None))]).into_keys().map(|name| (name, Vec::new())).collect()
    );
    assert_eq!(retired(&staged), [(GPU, id.as_str())]);
    // Shares of both names may be held beside each other.
    let share = format!("{id}::0");
    let new = map(vec![("nvidia.com/gpu.shared", whole(0, Some(2)))]);
    assert_eq!(stage(new.clone(), &held(&[(GPU, share)])).resources, new);
}

#[test]
fn mig_device_that_is_gone_and_held_leaves_its_neighbours_alone_and_keeps_the_whole_gpu_back() {
    let gone = mig(0, 1);
    let beside = map(vec![(GPU, part(0, 2, None))]);
    let staged = stage(beside.clone(), &held(&[(GPU, gone.clone())]));
    assert_eq!((staged.resources.clone(), retired(&staged)), (beside, vec![(GPU, gone.as_str())]));
    let staged = stage(map(vec![(GPU, whole(0, None)), (GPU, whole(1, None))]), &held(&[(GPU, gone)]));
    assert_eq!(staged.resources, map(vec![(GPU, whole(1, None))]));
}

/// A map in which each GPU is offered in one way, as `resource_map` makes them.
fn any_map() -> impl Strategy<Value = BTreeMap<ResourceName, Vec<Offered>>> {
    let shares = proptest::option::of(1u32..5);
    let one = (0usize..4, 0usize..2, shares);
    proptest::collection::vec(one, 0..4).prop_map(|gpus| {
        let mut devices = Vec::new();
        for (n, (form, name, shares)) in gpus.into_iter().enumerate() {
            let resource = ["nvidia.com/gpu", "nvidia.com/other"][name];
            match form {
                0 => {}
                1 => devices.push((resource, whole(n, shares))),
                parts => devices.extend((0..parts as u32).map(|at| (resource, part(n, at, shares)))),
            }
        }
        map(devices)
    })
}

/// Ids that were offered by some map before.
fn any_held() -> impl Strategy<Value = Held> {
    let id = (0usize..5, proptest::option::of(0u32..4), proptest::option::of(0u32..6), 0usize..3);
    proptest::collection::vec(id, 0..6).prop_map(|ids| {
        let id = |(n, of_part, share, name): (usize, Option<u32>, Option<u32>, usize)| {
            let unit = of_part.map_or_else(|| gpu(n).to_string(), |at| mig(n, at));
            let id = share.map_or_else(|| unit.clone(), |share| format!("{unit}::{share}"));
            (["nvidia.com/gpu", "nvidia.com/other", "nvidia.com/old"][name], id)
        };
        held(&ids.into_iter().map(id).collect::<Vec<_>>())
    })
}

/// All ids of a device.
fn ids_of(device: &Offered) -> Vec<String> {
    let unit = device.unit.as_str();
    device
        .shares
        .map_or_else(|| vec![unit.to_owned()], |shares| (0..shares).map(|n| format!("{unit}::{n}")).collect())
}

proptest! {
    #[test]
    fn without_held_ids_the_result_is_the_new_map(new in any_map()) {
        let staged = stage(new.clone(), &Held::default());
        prop_assert_eq!(staged, Staged { resources: new, ..Staged::default() });
    }

    #[test]
    fn every_held_id_is_listed_once(new in any_map(), held in any_held()) {
        let staged = stage(new, &held);
        for (resource, ids) in &held.ids {
            let offered = staged.resources.get(resource).into_iter().flatten().flat_map(ids_of);
            let retired = staged.retired.get(resource).into_iter().flatten().cloned();
            let listed: Vec<String> = offered.chain(retired).collect();
            for id in ids {
                prop_assert_eq!(listed.iter().filter(|listed| *listed == id).count(), 1, "{} in {:?}", id, listed);
            }
            prop_assert_eq!(listed.iter().collect::<BTreeSet<_>>().len(), listed.len());
        }
        // Nothing else is.
        for (resource, ids) in &staged.retired {
            prop_assert!(ids.iter().all(|id| held.ids[resource].contains(id)));
        }
    }

    #[test]
    fn nothing_of_the_new_map_is_lost(new in any_map(), held in any_held()) {
        let staged = stage(new.clone(), &held);
        let mut all: Vec<(ResourceName, Offered)> = staged.resources.into_iter().flat_map(|(name, devices)| devices.into_iter().map(move |device| (name.clone(), device))).collect();
        all.extend(staged.waiting.into_iter().map(|waiting| (waiting.resource, waiting.offered)));
        let key = |(name, device): &(ResourceName, Offered)| (name.clone(), device.unit.clone());
        all.sort_by_key(key);
        let mut expected: Vec<(ResourceName, Offered)> = new.into_iter().flat_map(|(name, devices)| devices.into_iter().map(move |device| (name.clone(), device))).collect();
        expected.sort_by_key(key);
        prop_assert_eq!(all, expected);
    }

    #[test]
    fn what_one_pod_has_for_itself_no_other_can_get(new in any_map(), held in any_held()) {
        let staged = stage(new, &held);
        // An id takes a unit of a GPU, alone or with others.
        let take = |name: &ResourceName, id: &str, of: GpuUuid| {
            let id = DeviceId::parse(id).unwrap();
            (name.clone(), of, id.unit.to_owned(), id.share)
        };
        let held_ones = held.ids.iter().flat_map(|(name, ids)| ids.iter().map(|id| {
            take(name, id, held.gpu_of(DeviceId::parse(id).unwrap()).unwrap())
        }).collect::<Vec<_>>());
        let held_ones: Vec<_> = held_ones.collect();
        let free = staged.resources.iter().flat_map(|(name, devices)| devices.iter().flat_map(|device| {
            ids_of(device).into_iter().map(|id| take(name, &id, device.gpu().unwrap().clone())).collect::<Vec<_>>()
        }).collect::<Vec<_>>()).filter(|taken| !held_ones.contains(taken));
        for (_, gpu, unit, share) in free {
            for (_, other_gpu, other_unit, other_share) in held_ones.iter().filter(|(_, other, ..)| *other == gpu) {
                let same = unit == *other_unit;
                let is_gpu = |unit: &str| unit == other_gpu.as_str();
                let alone = share.is_none() || other_share.is_none();
                prop_assert!(!(same && alone), "{} beside {}", unit, other_unit);
                prop_assert!(same || !(is_gpu(&unit) || is_gpu(other_unit)), "{} beside {}", unit, other_unit);
            }
        }
    }
}
