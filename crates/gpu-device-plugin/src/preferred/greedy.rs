//! Grows a set from each of a few seeds by the best next GPU. Bounded: work is at most
//! `SEEDS * picks * candidates`, each step a sum that is kept up to date.

use super::Search;

/// Seeds that are tried. Beyond this many candidates the answer is a good one, not the best.
const SEEDS: usize = 16;

/// A good set, as node positions.
pub(super) fn best(search: &Search<'_>) -> Vec<usize> {
    let seeds = (0..search.free.len()).step_by(search.free.len().div_ceil(SEEDS));
    let mut best: Option<(_, Vec<usize>)> = None;
    for seed in seeds {
        let chosen = grow(search, seed);
        let degrees = chosen.iter().map(|gpu| search.degree[*gpu]).sum();
        let rank = search.rank(search.inside(&chosen), degrees);
        if best.as_ref().is_none_or(|(best, _)| rank > *best) {
            best = Some((rank, chosen));
        }
    }
    best.map_or_else(Vec::new, |(_, chosen)| chosen.into_iter().map(|at| search.free[at]).collect())
}

fn grow(search: &Search<'_>, seed: usize) -> Vec<usize> {
    let mut gain: Vec<u64> = (0..search.free.len()).map(|gpu| search.gain(gpu, &[])).collect();
    let mut taken = vec![false; search.free.len()];
    let mut chosen = Vec::with_capacity(search.picks);
    let mut next = Some(seed);
    while let Some(gpu) = next {
        taken[gpu] = true;
        chosen.push(gpu);
        if chosen.len() == search.picks {
            break;
        }
        let position = search.free[gpu];
        for (other, gain) in gain.iter_mut().enumerate() {
            *gain += u64::from(search.affinity.worth(position, search.free[other]));
        }
        let rank =
            |gpu: &usize| (gain[*gpu], std::cmp::Reverse(search.degree[*gpu]), std::cmp::Reverse(*gpu));
        next = (0..search.free.len()).filter(|gpu| !taken[*gpu]).max_by_key(rank);
    }
    chosen
}
