//! Performance levels as the text that NVML makes of them. It knows the tokens, not how clocks come about.

use crate::clocks::ClockKind;
use crate::snapshot::GpuView;

/// Data are transferred twice in a cycle of the memory clock, as in the example of NVML's header.
const TRANSFERS: u32 = 2;

/// A clock with its range, in MHz.
type Clock = (u32, (u32, u32));

impl GpuView<'_> {
    /// Every performance level, the lowest first: the fastest P-state is the highest level.
    pub fn performance_modes(&self) -> String {
        let states = self.performance_states().iter().rev().enumerate();
        let modes = states.map(|(level, state)| {
            let range = |kind| self.clock_range_mhz(kind, *state).unwrap_or_default();
            let (graphics, memory) = (range(ClockKind::Graphics), range(ClockKind::Memory));
            let clocks = self.tokens((graphics.0, graphics), (memory.0, memory));
            format!("perf={level}, {clocks} ;")
        });
        modes.collect::<Vec<_>>().join(" ")
    }

    /// The performance level at this moment, and its clocks.
    pub fn current_clocks(&self) -> String {
        let state = self.performance_state();
        let level = self.performance_states().iter().rev().position(|it| *it == state).unwrap_or_default();
        let clock = |kind| (self.clock_mhz(kind), self.clock_range_mhz(kind, state).unwrap_or_default());
        format!("perf={level}, {} ;", self.tokens(clock(ClockKind::Graphics), clock(ClockKind::Memory)))
    }

    fn tokens(&self, graphics: Clock, memory: Clock) -> String {
        let (mhz, (low, high)) = memory;
        let transfers = (mhz * TRANSFERS, (low * TRANSFERS, high * TRANSFERS));
        let editable = u32::from(self.has_clock_offsets());
        let names = [("nvclock", graphics), ("memclock", memory), ("memtransferrate", transfers)];
        let texts = names.map(|(name, (mhz, (low, high)))| {
            format!("{name}={mhz}, {name}min={low}, {name}max={high}, {name}editable={editable}")
        });
        texts.join(", ")
    }
}
