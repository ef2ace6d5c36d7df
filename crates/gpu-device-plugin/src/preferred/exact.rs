//! Looks at every set, in ascending order, so that the first best one has the lowest indices.

use super::{Rank, Search};

/// The best set, as node positions.
pub(super) fn best(search: &Search<'_>) -> Vec<usize> {
    let free = search.free.len();
    let fixed: Vec<u64> = (0..free).map(|gpu| search.gain(gpu, &[])).collect();
    let pair: Vec<u32> = (0..free * free)
        .map(|at| search.affinity.worth(search.free[at / free], search.free[at % free]))
        .collect();
    let mut walk = Walk { search, fixed, pair, chosen: Vec::with_capacity(search.picks), best: None };
    walk.descend(0, 0, 0);
    walk.best.map_or_else(Vec::new, |(_, chosen)| chosen.into_iter().map(|at| search.free[at]).collect())
}

struct Walk<'a> {
    search: &'a Search<'a>,
    /// Worth of each candidate towards the fixed ones.
    fixed: Vec<u64>,
    /// Worth of each pair of candidates.
    pair: Vec<u32>,
    chosen: Vec<usize>,
    best: Option<(Rank, Vec<usize>)>,
}

impl Walk<'_> {
    fn descend(&mut self, from: usize, inside: u64, degrees: u64) {
        if self.chosen.len() == self.search.picks {
            let rank = self.search.rank(inside, degrees);
            if self.best.as_ref().is_none_or(|(best, _)| rank > *best) {
                self.best = Some((rank, self.chosen.clone()));
            }
            return;
        }
        let free = self.search.free.len();
        let still = self.search.picks - self.chosen.len();
        for gpu in from..=free - still {
            let row = &self.pair[gpu * free..(gpu + 1) * free];
            let gain = self.fixed[gpu] + self.chosen.iter().map(|other| u64::from(row[*other])).sum::<u64>();
            self.chosen.push(gpu);
            self.descend(gpu + 1, inside + gain, degrees + self.search.degree[gpu]);
            self.chosen.pop();
        }
    }
}
