//! Which GPUs to prefer for a container. Pure and total: any input has a valid answer, the same one each time,
//! because the kubelet fails a pod's admission on an error and fills up a short answer by itself.
//!
//! Of all sets of the asked size that hold what must be in, the best one has, in this order,
//! 1. the fewest GPUs on which no work may be placed,
//! 2. the highest worth inside (NVLink and nearness, summed over its pairs),
//! 3. the highest worth left among the GPUs that stay free, which is what keeps pairs whole when a
//!    container asks for one GPU,
//! 4. the lowest GPU indices.
//!
//! Shares and MIG devices are chosen by how much of their GPU is taken: see `shares`.
//!
//! The search is exact as long as there are at most [`EXACT_SETS`] sets to look at, which covers every choice
//! among 16 GPUs; beyond that it is a bounded search, whose answer is worth at least half of the best one inside: see `greedy`.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::affinity::Affinity;
use crate::state::{Device, State};

mod exact;
mod greedy;
mod shares;

/// Most sets that the exact search looks at.
const EXACT_SETS: u64 = 13_000;

/// How good a set is: worth inside, and then how little it takes from the others.
type Rank = (u64, Reverse<u64>);

/// The GPUs that the kubelet asks about, as positions in the node's list.
#[derive(Clone)]
pub struct Question<'a> {
    /// Positions that may be chosen. Duplicates count once.
    pub available: &'a [usize],
    /// Positions that have to be in the answer.
    pub must_include: &'a [usize],
    /// Number of GPUs to choose.
    pub size: usize,
    /// Positions on which work may be placed.
    pub schedulable: &'a dyn Fn(usize) -> bool,
}

/// The set being built and what it is worth; compared by [`Search::rank`].
#[derive(Clone, Debug)]
struct Search<'a> {
    affinity: &'a Affinity,
    /// Candidates beyond the fixed ones, ascending.
    free: Vec<usize>,
    /// What must be in, ascending.
    fixed: Vec<usize>,
    /// GPUs still to be chosen from `free`.
    picks: usize,
    /// Worth of each node position towards all candidates and fixed ones together.
    degree: Vec<u64>,
}

/// Chooses GPUs: `min(size, candidates)` positions, ascending, holding as much of `must_include` as fits.
pub fn preferred(affinity: &Affinity, question: &Question<'_>) -> Vec<usize> {
    let mut fixed = ascending(question.must_include);
    let mut free = ascending(question.available);
    free.retain(|gpu| fixed.binary_search(gpu).is_err());
    fixed.truncate(question.size);
    let picks = (question.size - fixed.len()).min(free.len());

    // Sick GPUs only fill up what healthy ones cannot, and nothing is gained by choosing among them.
    let (free, sick): (Vec<_>, Vec<_>) = free.into_iter().partition(|gpu| (question.schedulable)(*gpu));
    let fillers = picks.saturating_sub(free.len());
    let mut chosen = choose(affinity, fixed, free, picks - fillers);
    chosen.extend(sick.into_iter().take(fillers));
    chosen.sort_unstable();
    chosen
}

/// The ids to prefer, as the kubelet asks for them. Ids that are none of ours only fill up. For whole GPUs it is empty,
/// which the kubelet takes for "no preference", until the topology is known.
pub fn preferred_ids(state: &State, available: &[String], must_include: &[String], size: i32) -> Vec<String> {
    let size = usize::try_from(size).unwrap_or(0);
    let is_whole = |device: &Device| device.offered.shares.is_none() && device.offered.mig.is_none();
    if !state.devices.iter().all(is_whole) {
        return shares::preferred_ids(state, available, must_include, size);
    }
    if state.affinity.is_empty() {
        return Vec::new();
    }
    let ours = state.positions();
    let is_foreign = |id: &&str| !ours.contains_key(id);
    let foreign: BTreeSet<&str> =
        available.iter().chain(must_include).map(String::as_str).filter(is_foreign).collect();
    let foreign: Vec<&str> = foreign.into_iter().collect();
    let position = |id: &String| match ours.get(id.as_str()) {
        Some(at) => *at,
        None => state.devices.len() + foreign.partition_point(|other| *other < id.as_str()),
    };
    let question = Question {
        available: &available.iter().map(position).collect::<Vec<_>>(),
        must_include: &must_include.iter().map(position).collect::<Vec<_>>(),
        size,
        schedulable: &|at| state.devices.get(at).is_some_and(Device::is_schedulable),
    };
    let id = |at: usize| match state.devices.get(at) {
        Some(device) => device.offered.unit.to_string(),
        None => foreign[at - state.devices.len()].to_owned(),
    };
    let affinity = state.affinity.among(state.devices.iter().filter_map(|device| device.offered.gpu()));
    let affinity = affinity.without_links(|at| state.devices.get(at).is_some_and(Device::has_link_trouble));
    preferred(&affinity, &question).into_iter().map(id).collect()
}

fn choose(affinity: &Affinity, mut fixed: Vec<usize>, free: Vec<usize>, picks: usize) -> Vec<usize> {
    if picks == 0 || picks == free.len() {
        fixed.extend(free.into_iter().take(picks));
        return fixed;
    }
    let search = Search::new(affinity, fixed, free, picks);
    let is_small = sets(search.free.len(), picks) <= EXACT_SETS;
    let mut chosen = if is_small { exact::best(&search) } else { greedy::best(&search) };
    chosen.extend_from_slice(&search.fixed);
    chosen
}

impl<'a> Search<'a> {
    fn new(affinity: &'a Affinity, fixed: Vec<usize>, free: Vec<usize>, picks: usize) -> Self {
        let all: Vec<usize> = fixed.iter().chain(&free).copied().collect();
        let degree_of = |gpu: usize| all.iter().map(|other| u64::from(affinity.worth(gpu, *other))).sum();
        let degree = free.iter().map(|gpu| degree_of(*gpu)).collect();
        Self { affinity, free, fixed, picks, degree }
    }

    /// Worth of the pairs inside `chosen` (positions in `free`) and between it and the fixed ones.
    fn inside(&self, chosen: &[usize]) -> u64 {
        chosen.iter().enumerate().map(|(at, gpu)| self.gain(*gpu, &chosen[..at])).sum()
    }

    /// What `gpu` adds to the fixed ones and `chosen`, all by position in `free`.
    fn gain(&self, gpu: usize, chosen: &[usize]) -> u64 {
        let worth = |other: usize| u64::from(self.affinity.worth(self.free[gpu], other));
        let fixed: u64 = self.fixed.iter().map(|other| worth(*other)).sum();
        fixed + chosen.iter().map(|other| worth(self.free[*other])).sum::<u64>()
    }

    /// What makes one set better than another of the same size: first more worth inside, then less worth
    /// taken from the GPUs that stay free. Of what the chosen ones are worth to all, the inside counts twice
    /// and is not taken from anybody.
    fn rank(&self, inside: u64, degrees: u64) -> Rank {
        (inside, Reverse(degrees.saturating_sub(inside)))
    }
}

fn ascending(gpus: &[usize]) -> Vec<usize> {
    let mut gpus = gpus.to_vec();
    gpus.sort_unstable();
    gpus.dedup();
    gpus
}

/// Number of ways to choose `picks` of `from`, or `u64::MAX` if that is more.
fn sets(from: usize, picks: usize) -> u64 {
    let picks = picks.min(from - picks) as u64;
    (0..picks)
        .try_fold(1u64, |sets, at| Some(sets.checked_mul(from as u64 - at)? / (at + 1)))
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
