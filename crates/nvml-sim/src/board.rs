//! What a board tells of itself beside its model's figures: its InfoROM, its identifiers. It knows what follows from
//! the model and the UUID, not how it is asked for.

use crate::snapshot::GpuView;

/// Since when the driver has been loaded as far as the black box remembers: 2024-01-01, in microseconds since 1970.
const LOADED_US: u64 = 1_704_067_200_000_000;

impl GpuView<'_> {
    /// Seconds that a driver was loaded, as the black box of the InfoROM counts them.
    pub fn seconds_with_driver(&self) -> u32 {
        let us = self.snapshot.state.clock.now_us().saturating_sub(LOADED_US);
        u32::try_from(us / 1_000_000).unwrap_or(u32::MAX)
    }
}
