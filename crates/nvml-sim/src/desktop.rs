//! What boards for a desk let programs do, and those of data centres do not: clock offsets, PowerMizer, an acoustic limit of
//! temperature. It knows ranges and what is set, not what clocks make of it.

use serde::{Deserialize, Serialize};

use crate::clocks::ClockKind;
use crate::code::Code;
use crate::model::{Brand, Model};
use crate::snapshot::GpuView;
use crate::switches::GpuSwitches;

/// Offsets that graphics clocks take, in MHz (assumed for all boards: reports of GeForce RTX 40).
const GRAPHICS_OFFSETS: (i32, i32) = (-1000, 1000);
/// Offsets that memory clocks take (assumed in the same way).
const MEMORY_OFFSETS: (i32, i32) = (-2000, 6000);
/// Memory moves by half of its offset, which is of the data rate (reports of users: 3000 make 1500 MHz).
const MEMORY_STEP: i32 = 2;
/// PowerMizer modes, by `NVML_POWER_MIZER_MODE_*`: adaptive, most performance, the driver's choice (assumed: boards that lock
/// to base clocks are not simulated).
pub const POWER_MIZER_MODES: &[u32] = &[0, 1, POWER_MIZER_AUTO];
const POWER_MIZER_AUTO: u32 = 2;
/// The lowest acoustic limit, and the board's own (assumed; the highest one is the GPU's own maximum).
const ACOUSTIC_MIN: u32 = 65;
const ACOUSTIC_DEFAULT: u32 = 84;

/// Offsets of the clocks of one P-state, in MHz; that of memory is of the data rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ClockOffsets {
    /// Graphics.
    pub graphics: i32,
    /// Memory.
    pub memory: i32,
}

/// An offset and its range, in MHz.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockOffset {
    /// What is set.
    pub set: i32,
    /// The lowest.
    pub min: i32,
    /// The highest.
    pub max: i32,
}

impl GpuSwitches {
    /// By how many MHz the graphics clock moves in a P-state.
    pub fn graphics_shift(&self, state: u32) -> i32 {
        self.clock_offsets.get(&state).map_or(0, |offsets| offsets.graphics)
    }

    /// By how many MHz the memory clock moves in a P-state.
    pub fn memory_shift(&self, state: u32) -> i32 {
        self.clock_offsets.get(&state).map_or(0, |offsets| offsets.memory / MEMORY_STEP)
    }
}

impl Model {
    /// Whether it is a board for a desk. Users report that those of data centres refuse clock offsets.
    pub fn is_for_desks(&self) -> bool {
        !matches!(self.brand, Brand::Tesla | Brand::Nvidia)
    }
}

impl GpuView<'_> {
    fn needs_desk(&self) -> Result<(), Code> {
        if self.gpu.model.is_for_desks() { Ok(()) } else { Err(Code::NOT_SUPPORTED) }
    }

    /// Whether programs may set clock offsets.
    pub fn has_clock_offsets(&self) -> bool {
        self.gpu.model.is_for_desks()
    }

    /// A clock's offset in a P-state. Graphics and memory have one.
    pub fn clock_offset(&self, kind: ClockKind, state: u32) -> Result<ClockOffset, Code> {
        self.needs_desk()?;
        if !self.performance_states().contains(&state) {
            return Err(Code::INVALID_ARGUMENT);
        }
        let offsets =
            self.switches().and_then(|it| it.clock_offsets.get(&state)).copied().unwrap_or_default();
        let (set, (min, max)) = match kind {
            ClockKind::Graphics => (offsets.graphics, GRAPHICS_OFFSETS),
            ClockKind::Memory => (offsets.memory, MEMORY_OFFSETS),
            ClockKind::Sm | ClockKind::Video => return Err(Code::NOT_SUPPORTED),
        };
        Ok(ClockOffset { set, min, max })
    }

    /// By how many MHz a clock moves in a P-state.
    pub fn clock_shift_mhz(&self, kind: ClockKind, state: u32) -> i32 {
        self.switches().map_or(0, |switches| match kind {
            ClockKind::Graphics | ClockKind::Sm => switches.graphics_shift(state),
            ClockKind::Memory => switches.memory_shift(state),
            ClockKind::Video => 0,
        })
    }

    /// The PowerMizer mode.
    pub fn power_mizer_mode(&self) -> Result<u32, Code> {
        self.needs_desk()?;
        Ok(self.switches().and_then(|it| it.power_mizer).unwrap_or(POWER_MIZER_AUTO))
    }

    /// Lowest, set and highest acoustic limit of temperature, in degrees Celsius; of boards with fans alone.
    pub fn acoustic_limits(&self) -> Result<(u32, u32, u32), Code> {
        if self.gpu.model.fans == 0 {
            return Err(Code::NOT_SUPPORTED);
        }
        let max = self.gpu.model.temperature_max_celsius;
        let min = ACOUSTIC_MIN.min(max);
        let set =
            self.switches().and_then(|it| it.acoustic_celsius).unwrap_or(ACOUSTIC_DEFAULT.clamp(min, max));
        Ok((min, set, max))
    }
}
