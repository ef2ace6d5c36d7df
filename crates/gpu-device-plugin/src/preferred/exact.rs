//! Looks at every set, in ascending order, so that the first best one has the lowest indices. Where a bound tells that no
//! set which begins so can be better than the best one known, it goes on with the next beginning.

use super::{Rank, Search};

/// With fewer GPUs still to be chosen, a bound costs more than the sets that it saves.
const BOUNDED: usize = 3;

/// The best set, as node positions.
pub(super) fn best(search: &Search<'_>) -> Vec<usize> {
    let mut walk = Walk::new(search);
    walk.descend(0, 0, 0);
    walk.best.map_or_else(Vec::new, |(_, chosen)| chosen.into_iter().map(|at| search.free[at]).collect())
}

/// All by position among the candidates.
struct Walk<'a> {
    search: &'a Search<'a>,
    /// Worth of each pair of candidates.
    pair: Vec<u64>,
    /// For each candidate the sum of its 0, 1, 2, … greatest worths to others.
    nearest: Vec<u64>,
    /// For each candidate the least degree from it on.
    least_degree: Vec<u64>,
    /// For each number of chosen ones: what each candidate is worth to them and the fixed ones.
    gains: Vec<u64>,
    chosen: Vec<usize>,
    best: Option<(Rank, Vec<usize>)>,
    /// Room for a bound's sums.
    sums: Vec<u64>,
}

impl<'a> Walk<'a> {
    fn new(search: &'a Search<'a>) -> Self {
        let (free, picks) = (search.free.len(), search.picks);
        let worth = |at: usize| search.affinity.worth(search.free[at / free], search.free[at % free]);
        let pair: Vec<u64> = (0..free * free).map(|at| u64::from(worth(at))).collect();
        let mut nearest = Vec::with_capacity(free * picks);
        for row in pair.chunks(free) {
            let mut row = row.to_vec();
            row.sort_unstable_by(|one, other| other.cmp(one));
            let sums = row.iter().scan(0, |sum, worth| Some(std::mem::replace(sum, *sum + worth)));
            nearest.extend(sums.take(picks));
        }
        let mut least_degree = search.degree.clone();
        for at in (1..free).rev() {
            least_degree[at - 1] = least_degree[at - 1].min(least_degree[at]);
        }
        let mut gains = vec![0; free * picks];
        (0..free).for_each(|gpu| gains[gpu] = search.gain(gpu, &[]));
        let (chosen, sums) = (Vec::with_capacity(picks), Vec::with_capacity(free));
        Self { search, pair, nearest, least_degree, gains, chosen, best: None, sums }
    }

    /// Looks at the sets that go on with candidates from `from` on.
    fn descend(&mut self, from: usize, inside: u64, degrees: u64) {
        let (free, depth) = (self.search.free.len(), self.chosen.len());
        let still = self.search.picks - depth;
        if still == 1 {
            return self.complete(from, inside, degrees);
        }
        if still >= BOUNDED && !self.may_improve(from, still, inside, degrees) {
            return;
        }
        for gpu in from..=free - still {
            let (above, next) = self.gains[depth * free..].split_at_mut(free);
            let pairs = &self.pair[gpu * free..];
            let ones = above[gpu + 1..].iter().zip(&pairs[gpu + 1..]);
            next[gpu + 1..].iter_mut().zip(ones).for_each(|(next, (gain, pair))| *next = gain + pair);
            let gain = above[gpu];
            self.chosen.push(gpu);
            self.descend(gpu + 1, inside + gain, degrees + self.search.degree[gpu]);
            self.chosen.pop();
        }
    }

    /// Looks at each last one.
    fn complete(&mut self, from: usize, inside: u64, degrees: u64) {
        let free = self.search.free.len();
        let gains = self.gains[self.chosen.len() * free..].iter().take(free);
        for (gpu, gain) in gains.enumerate().skip(from) {
            let rank = self.search.rank(inside + gain, degrees + self.search.degree[gpu]);
            if self.best.as_ref().is_none_or(|(best, _)| rank > *best) {
                let chosen = self.chosen.iter().copied().chain([gpu]).collect();
                self.best = Some((rank, chosen));
            }
        }
    }

    /// Whether one of these sets could be better than the best one known: if each further one had the best of all others
    /// for its partners. Each pair of further ones is then counted twice.
    fn may_improve(&mut self, from: usize, still: usize, inside: u64, degrees: u64) -> bool {
        let Some((best, _)) = &self.best else { return true };
        let (free, picks) = (self.search.free.len(), self.search.picks);
        let gains = &self.gains[self.chosen.len() * free..];
        self.sums.clear();
        self.sums.extend((from..free).map(|gpu| 2 * gains[gpu] + self.nearest[gpu * picks + still - 1]));
        self.sums.sort_unstable_by(|one, other| other.cmp(one));
        let most = inside + self.sums.iter().take(still).sum::<u64>() / 2;
        self.search.rank(most, degrees + self.least_degree[from] * still as u64) > *best
    }
}
