//! The preference among shares and MIG devices: by how much of each GPU is taken. Pure and total.
//!
//! What is taken is what the question leaves out: the kubelet names every id that is free. `distributed` picks, one
//! after the other, from the GPU with the fewest ids taken, `packed` from the one with the most; on a GPU with several
//! MIG devices the same decides between them. Ties go to the first in the list.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use gpu_config::SharedPolicy;
use gpu_model::GpuUuid;

use crate::device_id::DeviceId;
use crate::state::State;

/// What of one device is free, and how much of it is taken.
struct Unit<'a> {
    gpu: Option<&'a GpuUuid>,
    is_schedulable: bool,
    /// Free shares, the lowest last; one entry for a device that is not shared.
    free: Vec<(Option<u32>, &'a str)>,
    taken: usize,
}

/// The ids to prefer.
pub(super) fn preferred_ids(
    state: &State,
    available: &[String],
    must_include: &[String],
    size: usize,
) -> Vec<String> {
    let mut chosen: BTreeSet<&str> = BTreeSet::new();
    let mut order: Vec<&str> = Vec::new();
    for id in must_include {
        if order.len() < size && chosen.insert(id) {
            order.push(id);
        }
    }
    let (mut units, strangers) = free_of(state, available, &chosen);
    let mut taken: HashMap<Option<&GpuUuid>, usize> = HashMap::new();
    for unit in &units {
        *taken.entry(unit.gpu).or_default() += unit.taken;
    }
    let policy = policy(state);
    while order.len() < size {
        let Some(at) = next(&units, &taken, policy) else { break };
        let unit = &mut units[at];
        let Some((_, id)) = unit.free.pop() else { break };
        unit.taken += 1;
        *taken.entry(unit.gpu).or_default() += 1;
        order.push(id);
    }
    let missing = size - order.len();
    order.extend(strangers.into_iter().take(missing));
    order.into_iter().map(str::to_owned).collect()
}

/// MIG devices and shares of GPUs under one name go by the policy of shares.
fn policy(state: &State) -> SharedPolicy {
    let are_mig = state.devices.iter().all(|device| device.offered.mig.is_some());
    if are_mig { state.terms.mig_policy } else { state.terms.policy }
}

/// What of each device is free, and the ids that are none of ours.
fn free_of<'a>(
    state: &'a State,
    available: &'a [String],
    chosen: &BTreeSet<&str>,
) -> (Vec<Unit<'a>>, BTreeSet<&'a str>) {
    let unit = |device: &'a crate::state::Device| Unit {
        gpu: device.offered.gpu(),
        is_schedulable: device.is_schedulable(),
        free: Vec::new(),
        taken: 0,
    };
    let mut units: Vec<Unit<'a>> = state.devices.iter().map(unit).collect();
    let positions = state.positions();
    let mut strangers = BTreeSet::new();
    for id in available.iter().map(String::as_str).filter(|id| !chosen.contains(id)) {
        let parsed = DeviceId::parse(id);
        let own = parsed.and_then(|parsed| Some((*positions.get(parsed.unit)?, parsed)));
        match own.filter(|(at, parsed)| state.devices[*at].has(*parsed)) {
            Some((at, parsed)) => units[at].free.push((parsed.share, id)),
            None => {
                strangers.insert(id);
            }
        }
    }
    for (unit, device) in units.iter_mut().zip(&state.devices) {
        unit.free.sort_unstable_by(|one, other| other.cmp(one));
        unit.free.dedup();
        unit.taken = device.count() - unit.free.len();
    }
    (units, strangers)
}

/// The device to take the next id from: one that works as long as there is any.
fn next(units: &[Unit<'_>], taken: &HashMap<Option<&GpuUuid>, usize>, policy: SharedPolicy) -> Option<usize> {
    let candidates = units.iter().enumerate().filter(|(_, unit)| !unit.free.is_empty());
    let load = |unit: &Unit<'_>| (taken.get(&unit.gpu).copied().unwrap_or(0), unit.taken);
    let best = candidates.min_by_key(|(at, unit)| {
        let load = match policy {
            SharedPolicy::Distributed => (load(unit), Reverse((0, 0))),
            SharedPolicy::Packed => ((0, 0), Reverse(load(unit))),
        };
        (!unit.is_schedulable, load, *at)
    });
    best.map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use gpu_model::{Health, HealthReason};
    use proptest::prelude::*;

    use super::*;
    use crate::resource_map::{MigPlace, Offered, Unit};
    use crate::state::Device;
    use crate::state::tests::{gpu, node, shared};

    fn share(of: usize, share: u32) -> String {
        format!("{}::{share}", gpu(of))
    }

    fn free(state: &State, taken: &[String]) -> Vec<String> {
        state.devices.iter().flat_map(Device::ids).filter(|id| !taken.contains(id)).collect()
    }

    fn with(mut state: State, policy: SharedPolicy) -> State {
        state.terms.policy = policy;
        state
    }

    #[test]
    fn distributed_takes_from_the_gpu_with_the_fewest_taken_and_packed_from_that_with_the_most() {
        let spread = with(shared(3, 4), SharedPolicy::Distributed);
        let free = free(&spread, &[share(0, 0), share(0, 1), share(2, 3)]);
        assert_eq!(preferred_ids(&spread, &free, &[], 3), [share(1, 0), share(1, 1), share(2, 0)]);
        let packed = with(shared(3, 4), SharedPolicy::Packed);
        assert_eq!(preferred_ids(&packed, &free, &[], 3), [share(0, 2), share(0, 3), share(2, 0)]);
    }

    #[test]
    fn mig_devices_go_by_a_policy_of_their_own() {
        let mut state = with(node(4), SharedPolicy::Distributed);
        for (at, device) in state.devices.iter_mut().enumerate() {
            let (of, part) = (at / 2, at as u32 % 2);
            let place = MigPlace { index: part, gpu_instance: part + 1, compute_instance: 0 };
            let uuid = format!("MIG-00000000-0000-0000-0000-{at:012x}").parse().unwrap();
            device.offered = Offered {
                unit: Unit::Mig(uuid),
                mig: Some(place),
                ..Offered::whole(gpu(of), of as u32, None)
            };
        }
        let all = free(&state, &[]);
        // One device of the second GPU is taken.
        let free = [all[0].clone(), all[1].clone(), all[3].clone()];
        for (policy, wanted) in [(SharedPolicy::Packed, &all[3]), (SharedPolicy::Distributed, &all[0])] {
            state.terms.mig_policy = policy;
            assert_eq!(preferred_ids(&state, &free, &[], 1).first(), Some(wanted));
        }
    }

    #[test]
    fn share_of_a_sick_gpu_and_foreign_id_only_fill_up() {
        let mut state = with(shared(2, 2), SharedPolicy::Distributed);
        state.devices[0].health = Health::Unhealthy { reason: HealthReason::Lost };
        let mut free = free(&state, &[]);
        free.push("elsewhere".to_owned());
        assert_eq!(
            preferred_ids(&state, &free, &[], 9),
            [share(1, 0), share(1, 1), share(0, 0), share(0, 1), "elsewhere".to_owned()]
        );
    }

    proptest! {
        #[test]
        fn answer_is_a_set_of_the_asked_size_with_what_must_be_in_and_is_the_same_for_any_order(
            gpus in 1usize..6,
            shares in 2u32..8,
            picks in proptest::collection::vec(0usize..40, 0..40),
            must in proptest::collection::vec(0usize..40, 0..3),
            size in 0usize..45,
            packed: bool,
        ) {
            let state = with(shared(gpus, shares), if packed { SharedPolicy::Packed } else { SharedPolicy::Distributed });
            let all = free(&state, &[]);
            let mut available: Vec<String> = picks.iter().map(|at| all[at % all.len()].clone()).collect();
            let must: Vec<String> = must.iter().map(|at| all[at % all.len()].clone()).collect();
            let answer = preferred_ids(&state, &available, &must, size);
            let candidates: BTreeSet<&String> = available.iter().chain(&must).collect();
            let set: BTreeSet<&String> = answer.iter().collect();
            let musts: BTreeSet<&String> = must.iter().collect();
            prop_assert_eq!(answer.len(), size.min(candidates.len()));
            prop_assert_eq!(set.len(), answer.len());
            prop_assert!(set.is_subset(&candidates));
            prop_assert!(musts.len() > size || musts.is_subset(&set));
            available.reverse();
            prop_assert_eq!(preferred_ids(&state, &available, &must, size), answer);
        }

        #[test]
        fn distributed_leaves_the_gpus_as_even_as_they_can_be(gpus in 1usize..6, shares in 2u32..8, size in 1usize..40) {
            let state = with(shared(gpus, shares), SharedPolicy::Distributed);
            let answer = preferred_ids(&state, &free(&state, &[]), &[], size);
            let of = |n: usize| answer.iter().filter(|id| id.starts_with(gpu(n).as_str())).count();
            let counts: Vec<usize> = (0..gpus).map(of).collect();
            prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{:?}", counts);
        }
    }
}
