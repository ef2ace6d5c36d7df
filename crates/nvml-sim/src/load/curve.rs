//! A curve over time: phases that follow each other, some of them many times over, and then from the beginning or the
//! last one for ever. It answers for any time in the same few steps, in whole microseconds.

use super::activity::{Activity, NOTHING};

/// A time of one activity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// How long, in microseconds.
    pub us: u64,
    /// What runs.
    pub activity: Activity,
}

/// Phases that repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// How often.
    pub times: u64,
    /// In which order.
    pub phases: Vec<Phase>,
}

/// What comes after the last phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The first one.
    Repeat,
    /// The last one goes on.
    Hold,
}

/// A curve. Its length is that of all phases and never 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Curve {
    blocks: Vec<Block>,
    then: Then,
    us: u64,
}

impl Block {
    fn cycle_us(&self) -> u64 {
        self.phases.iter().map(|phase| phase.us).sum()
    }
}

/// Where a phase lies.
struct Place<'a> {
    activity: &'a Activity,
    /// The block's beginning in the curve.
    block_us: u64,
    times: u64,
    cycle_us: u64,
    /// The phase's beginning in the cycle.
    from_us: u64,
    us: u64,
}

impl Place<'_> {
    /// Microseconds in the phase until a position of one run of the curve.
    fn until(&self, position: u64) -> u64 {
        let within = position.saturating_sub(self.block_us);
        // Most blocks lie before or behind: no division for them.
        if within == 0 || within >= self.times * self.cycle_us {
            return if within == 0 { 0 } else { self.times * self.us };
        }
        let (cycles, rest) = (within / self.cycle_us, within % self.cycle_us);
        cycles * self.us + rest.saturating_sub(self.from_us).min(self.us)
    }
}

impl Curve {
    /// A curve of blocks; one without length is a second of nothing.
    pub fn new(blocks: Vec<Block>, then: Then) -> Curve {
        let us = blocks.iter().map(|block| block.times * block.cycle_us()).sum();
        match us {
            0 => {
                let nothing = Phase { us: 1_000_000, activity: NOTHING };
                Curve::new(vec![Block { times: 1, phases: vec![nothing] }], then)
            }
            us => Curve { blocks, then, us },
        }
    }

    fn places(&self) -> impl Iterator<Item = Place<'_>> {
        let mut block_us = 0;
        self.blocks.iter().flat_map(move |block| {
            let (begin, cycle_us) = (block_us, block.cycle_us());
            block_us += block.times * cycle_us;
            let mut from_us = 0;
            block.phases.iter().map(move |phase| {
                let from = from_us;
                from_us += phase.us;
                Place {
                    activity: &phase.activity,
                    block_us: begin,
                    times: block.times,
                    cycle_us,
                    from_us: from,
                    us: phase.us,
                }
            })
        })
    }

    /// The position within one run, whole runs before it, and the time after the end.
    fn run(&self, position: u64) -> (u64, u64, u64) {
        match self.then {
            Then::Repeat => (position % self.us, position / self.us, 0),
            Then::Hold => (position.min(self.us), 0, position.saturating_sub(self.us)),
        }
    }

    /// What runs at a position.
    pub fn at(&self, position: u64) -> &Activity {
        let last = self.blocks.last().and_then(|block| block.phases.last());
        let last = last.map_or(&NOTHING, |phase| &phase.activity);
        let (mut rest, _, after) = self.run(position);
        if after > 0 {
            return last;
        }
        for block in &self.blocks {
            let cycle = block.cycle_us();
            if rest >= block.times * cycle {
                rest -= block.times * cycle;
                continue;
            }
            rest %= cycle;
            for phase in &block.phases {
                if rest < phase.us {
                    return &phase.activity;
                }
                rest -= phase.us;
            }
        }
        last
    }

    /// Tells each activity between two positions with its microseconds there.
    pub fn spent<'a>(&'a self, from: u64, to: u64, mut tell: impl FnMut(&'a Activity, u64)) {
        let (from, runs_before, held_before) = self.run(from);
        let (to, runs, held) = self.run(to);
        let runs = runs.saturating_sub(runs_before);
        let mut last = &NOTHING;
        for place in self.places() {
            let whole = runs * place.times * place.us + place.until(to);
            let us = whole.saturating_sub(place.until(from));
            if us > 0 {
                tell(place.activity, us);
            }
            last = place.activity;
        }
        if held > held_before {
            tell(last, held - held_before);
        }
    }
}
