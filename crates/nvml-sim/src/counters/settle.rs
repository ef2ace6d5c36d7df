//! What a change of a node means for its counters: what they had come to is kept, so that they rise from there at the
//! new pace. It knows which changes matter, not who made them.

use super::{Counters, Drive, Totals};
use crate::clock::Clock;
use crate::load::Load;
use crate::node::Gpu;
use crate::state::State;

/// How long a new state may take to reach readers of the old one. They see the old pace until then, so counters wait
/// for them at what they will have read at most.
const PUBLISH_US: u64 = 100_000;

impl State {
    /// Whether a change from `before` matters to counters.
    pub fn moves_counters(&self, before: &State) -> bool {
        self.driver != before.driver
            || self.overrides != before.overrides
            || self.loads != before.loads
            || self.modes != before.modes
            || self.processes != before.processes
    }

    /// The load that the node file gave a GPU. Editing the file alone changes none: counters would not rise from where they are.
    pub fn declared_load<'a>(&'a self, gpu: &'a Gpu) -> &'a Load {
        self.loads.get(&gpu.uuid).unwrap_or(&gpu.load)
    }

    /// Keeps what the counters of the GPUs had come to before this state.
    pub fn settle_counters(&mut self, before: &State, gpus: &[Gpu]) {
        let now = self.clock.now_us();
        for gpu in gpus {
            let is_reloaded = self.driver.number != before.driver.number;
            let (old, new) = (Drive::of(gpu, before), Drive::of(gpu, self));
            if !is_reloaded && old.is_like(&new) {
                continue;
            }
            let frozen = matches!(self.clock, Clock::Frozen(_));
            let since = if is_reloaded || frozen { now } else { now.saturating_add(PUBLISH_US) };
            let is_new_load = old.load() != new.load();
            let counters = Counters {
                since_us: since.max(old.since_us().min(now.saturating_add(PUBLISH_US))),
                load_since_us: if is_new_load { now } else { old.load_since_us() },
                totals: if is_reloaded { Totals::default() } else { old.totals(since) },
                heat_milliwatts: Some(old.heat_milliwatts(now)),
            };
            self.counters.insert(gpu.uuid.clone(), counters);
        }
    }
}
