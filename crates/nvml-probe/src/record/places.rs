//! Where GPUs sit: NUMA nodes, sockets, and places in the PCIe tree that have the levels of nearness that were told.

use std::collections::{BTreeMap, BTreeSet};

use super::Recording;
use crate::walk::{Answers, Walk};

/// `nvmlGpuTopologyLevel_t` of what one switch, one group of switches and one host bridge have in common.
const SWITCH: u64 = 10;
const SWITCH_GROUP: u64 = 20;
const HOST_BRIDGE: u64 = 30;
/// One NUMA node.
const NODE: u64 = 40;

/// Fills in what the walk tells of places.
pub fn fill(recording: &mut Recording, walk: &Walk) {
    let host = walk.host.clone().unwrap_or_default();
    for (gpu, walked) in recording.gpus.iter_mut().zip(&walk.gpus) {
        let near = numbers(mask(&walked.answers, "nvmlDeviceGetMemoryAffinity(0)").unwrap_or_default());
        let told = if near.len() == 1 { near.first().copied() } else { None };
        gpu.numa = told.or_else(|| host.numa.get(&gpu.pci).copied());
    }
    recording.cpus = host.cpus.clone();
    if recording.cpus.is_empty() {
        for (gpu, walked) in recording.gpus.iter().zip(&walk.gpus) {
            let cpus = mask(&walked.answers, "nvmlDeviceGetCpuAffinityWithinScope(0)");
            recording.cpus.extend(gpu.numa.zip(cpus.map(str::to_owned)));
        }
    }
    let sockets = sockets(walk);
    fill_sockets(recording, &sockets);
    fill_tree(recording, walk, &sockets);
}

/// The NUMA nodes of each GPU's socket, as it told them.
fn sockets(walk: &Walk) -> Vec<Option<BTreeSet<u32>>> {
    let of = |answers: &Answers| {
        mask(answers, "nvmlDeviceGetMemoryAffinity(1)").map(numbers).filter(|nodes| !nodes.is_empty())
    };
    walk.gpus.iter().map(|gpu| of(&gpu.answers)).collect()
}

/// Sockets are written where they are more than a NUMA node each.
fn fill_sockets(recording: &mut Recording, sockets: &[Option<BTreeSet<u32>>]) {
    let distinct: BTreeSet<&BTreeSet<u32>> = sockets.iter().flatten().collect();
    if distinct.iter().all(|nodes| nodes.len() == 1) {
        return;
    }
    let mut unknown = BTreeSet::new();
    for nodes in distinct {
        let (known, missing): (Vec<u32>, Vec<u32>) =
            nodes.iter().partition(|node| recording.cpus.is_empty() || recording.cpus.contains_key(node));
        unknown.extend(missing);
        if !known.is_empty() {
            recording.sockets.push(known);
        }
    }
    if !unknown.is_empty() {
        let nodes = unknown.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        recording
            .notes
            .push(format!("NUMA nodes without a GPU are left out ({nodes}): record with --host-root"));
    }
}

/// Numbers sockets, bridges, groups and switches as they come.
fn fill_tree(recording: &mut Recording, walk: &Walk, sockets: &[Option<BTreeSet<u32>>]) {
    let distinct: Vec<&BTreeSet<u32>> =
        sockets.iter().flatten().collect::<BTreeSet<_>>().into_iter().collect();
    let level = |one: usize, other: usize| -> Option<u64> {
        let answers = &walk.gpus.get(one)?.answers;
        let key = format!("nvmlDeviceGetTopologyCommonAncestor({other})");
        answers.get(&key)?.as_u64()
    };
    let mut places: Vec<Option<[u16; 4]>> = Vec::new();
    let mut next: BTreeMap<Vec<u16>, u16> = BTreeMap::new();
    for index in 0..walk.gpus.len() {
        let told = sockets.get(index).and_then(Option::as_ref);
        let socket = told.and_then(|nodes| distinct.iter().position(|known| *known == nodes));
        let near =
            |most: u64| (0..index).find(|other| level(index, *other).is_some_and(|level| level <= most));
        let place_of = |other: usize| places.get(other).copied().flatten();
        let socket = socket.and_then(|socket| u16::try_from(socket).ok());
        let socket = socket.or_else(|| near(NODE).and_then(place_of).map(|[socket, ..]| socket));
        // GPUs that tell neither a socket nor each other's nearness stand each for itself.
        if socket.is_none() && walk.gpus.len() > 1 && level(index, usize::from(index == 0)).is_none() {
            places.push(None);
            continue;
        }
        let mut place = vec![socket.unwrap_or_else(|| fresh(&mut next, &[]))];
        for most in [HOST_BRIDGE, SWITCH_GROUP, SWITCH] {
            let depth = place.len();
            let shared = near(most).and_then(place_of).and_then(|place| place.get(depth).copied());
            let part = shared.unwrap_or_else(|| fresh(&mut next, &place));
            place.push(part);
        }
        places.push(<[u16; 4]>::try_from(place).ok());
    }
    for (gpu, place) in recording.gpus.iter_mut().zip(places) {
        gpu.pcie = place;
    }
}

/// The next number below a place.
fn fresh(next: &mut BTreeMap<Vec<u16>, u16>, place: &[u16]) -> u16 {
    let next = next.entry(place.to_vec()).or_default();
    *next += 1;
    *next - 1
}

fn mask<'a>(answers: &'a Answers, call: &str) -> Option<&'a str> {
    answers.get(call)?.as_str()
}

/// The numbers of a list such as `0-3,8`.
fn numbers(list: &str) -> BTreeSet<u32> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}
