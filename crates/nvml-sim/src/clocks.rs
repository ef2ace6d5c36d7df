//! Clocks of a GPU: what they are, what they can be, and which can be asked for. It knows the model's lists and the modes;
//! how clocks follow a load is `counters`' part.

use crate::code::{Code, numbered};
use crate::counters::Pace;
use crate::model::{Architecture, Model};
use crate::modes::Modes;
use crate::snapshot::GpuView;

/// `nvmlClockLimitId_t`: the clock of the default power, and no limit.
const LIMIT_TDP: u32 = 0xFFFF_FF01;
const LIMIT_NONE: u32 = 0xFFFF_FF02;
/// All numbers from here on are such names.
const LIMITS: u32 = 0xFFFF_FF00;

/// A clock; numbers are `nvmlClockType_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockKind {
    /// Graphics.
    Graphics = 0,
    /// Multiprocessors.
    Sm = 1,
    /// Memory.
    Memory = 2,
    /// Video engines.
    Video = 3,
}

impl ClockKind {
    /// The clock of a number.
    pub fn of(number: u32) -> Result<ClockKind, Code> {
        let all = [ClockKind::Graphics, ClockKind::Sm, ClockKind::Memory, ClockKind::Video];
        numbered(&all, number, |kind| kind as u32)
    }
}

/// The memory clock of a GPU that idles: HBM keeps its own, other memory takes the lowest one.
fn memory_idle_mhz(model: &Model) -> u32 {
    let lowest = model.clocks_memory_mhz.iter().min().copied();
    if model.has_hbm() { model.clock_memory_mhz } else { lowest.unwrap_or(model.clock_memory_mhz) }
}

impl GpuView<'_> {
    /// A clock at this moment, in MHz.
    pub fn clock_mhz(&self, kind: ClockKind) -> u32 {
        let pace = self.pace();
        match kind {
            ClockKind::Graphics | ClockKind::Sm => pace.clock_mhz,
            ClockKind::Memory => self.memory_clock_mhz(&pace),
            ClockKind::Video => self.video_clock_mhz(pace.clock_mhz),
        }
    }

    /// The memory clock at a time, in microseconds since 1970.
    pub fn memory_clock_at(&self, us: u64) -> u32 {
        self.memory_clock_mhz(&self.drive().at(us))
    }

    fn memory_clock_mhz(&self, pace: &Pace) -> u32 {
        let (model, modes) = (&self.gpu.model, self.modes());
        let most = self.clock_max_mhz(ClockKind::Memory);
        // An offset moves clocks that nobody has asked for.
        let wanted = match modes.application_clocks {
            _ if pace.activity.busy == 0 => {
                memory_idle_mhz(model).saturating_add_signed(self.clock_shift_mhz(ClockKind::Memory, 8))
            }
            Some((memory, _)) => memory,
            None => most,
        };
        let (low, high) = modes.locked_memory.unwrap_or((0, u32::MAX));
        wanted.clamp(low.min(high), high).min(most.max(model.clock_memory_mhz))
    }

    /// The video clock follows the graphics clock, from 45 percent when that is idle (assumed: listings of idle GPUs show
    /// 585 of 1290 MHz on A100, 765 of 1545 on H100, 540 of 1470 on T4).
    fn video_clock_mhz(&self, graphics: u32) -> u32 {
        let Model { clock_video_mhz: most, clock_idle_mhz: idle, clock_graphics_mhz: full, .. } =
            self.gpu.model;
        let above = graphics.saturating_sub(idle).min(full.saturating_sub(idle));
        let low = most * 45 / 100;
        low + (most - low) * above / full.saturating_sub(idle).max(1)
    }

    /// The highest that a clock can be, in MHz.
    pub fn clock_max_mhz(&self, kind: ClockKind) -> u32 {
        let model = &self.gpu.model;
        match kind {
            ClockKind::Graphics | ClockKind::Sm => model.clock_graphics_mhz,
            ClockKind::Memory => model.clock_memory_mhz,
            ClockKind::Video => model.clock_video_mhz,
        }
        .saturating_add_signed(self.clock_shift_mhz(kind, 0))
    }

    /// The clock that applications get unless they ask for another, in MHz.
    pub fn clock_default_mhz(&self, kind: ClockKind) -> u32 {
        let model = &self.gpu.model;
        match kind {
            ClockKind::Graphics | ClockKind::Sm => model.clock_application_mhz,
            ClockKind::Memory => model.clock_memory_mhz,
            ClockKind::Video => self.video_clock_mhz(model.clock_application_mhz),
        }
    }

    /// The clock that applications get, in MHz.
    pub fn clock_application_mhz(&self, kind: ClockKind) -> u32 {
        match (kind, self.modes().application_clocks) {
            (ClockKind::Graphics | ClockKind::Sm, Some((_, graphics))) => graphics,
            (ClockKind::Memory, Some((memory, _))) => memory,
            (ClockKind::Video, Some((_, graphics))) => self.video_clock_mhz(graphics),
            (kind, None) => self.clock_default_mhz(kind),
        }
    }

    /// Memory clocks that can be set, in MHz, the highest first.
    pub fn supported_memory_clocks(&self) -> Vec<u32> {
        self.gpu.model.clocks_memory_mhz.clone()
    }

    /// Graphics clocks that can be set beside a memory clock, in MHz, the highest first. Beside the lowest of several
    /// memory clocks only the lower half goes (assumed); `NOT_FOUND` for a memory clock that cannot be set.
    pub fn supported_graphics_clocks(&self, memory: u32) -> Result<Vec<u32>, Code> {
        let model = &self.gpu.model;
        let known = &model.clocks_memory_mhz;
        if !known.contains(&memory) {
            return Err(Code::NOT_FOUND);
        }
        let mut clocks = model.clocks_graphics_mhz();
        if memory == memory_idle_mhz(model) && known.len() > 1 && !model.has_hbm() {
            let most = (model.clock_graphics_mhz / 2).max(model.clock_idle_mhz);
            clocks.retain(|clock| *clock <= most);
        }
        Ok(clocks)
    }

    /// P-states that there are, the fastest first.
    pub fn performance_states(&self) -> &'static [u32] {
        if self.gpu.model.has_hbm() { &[0] } else { &[0, 8] }
    }

    /// The P-state: 0 is the fastest. GPUs with HBM stay there; others idle in P8, as listings show.
    pub fn performance_state(&self) -> u32 {
        if self.is_idle() && !self.gpu.model.has_hbm() { 8 } else { 0 }
    }

    /// Lowest and highest clock of a P-state, in MHz; an offset moves the highest, and that of memory as a whole.
    pub fn clock_range_mhz(&self, kind: ClockKind, state: u32) -> Result<(u32, u32), Code> {
        let model = &self.gpu.model;
        if !self.performance_states().contains(&state) {
            return Err(Code::INVALID_ARGUMENT);
        }
        let most = match state {
            0 => model.clock_graphics_mhz,
            _ => (model.clock_graphics_mhz / 2).max(model.clock_idle_mhz),
        };
        let shifted = |mhz: u32, kind| mhz.saturating_add_signed(self.clock_shift_mhz(kind, state));
        let most = shifted(most, ClockKind::Graphics);
        let graphics = (model.clock_idle_mhz.min(most), most);
        let memory = if state == 0 { model.clock_memory_mhz } else { memory_idle_mhz(model) };
        let memory = shifted(memory, ClockKind::Memory);
        Ok(match kind {
            ClockKind::Graphics | ClockKind::Sm => graphics,
            ClockKind::Memory => (memory, memory),
            ClockKind::Video => (self.video_clock_mhz(graphics.0), self.video_clock_mhz(graphics.1)),
        })
    }

    /// The range that `nvmlDeviceSetGpuLockedClocks` means: numbers in MHz, or two names of limits. None unlocks.
    pub fn graphics_lock(&self, low: u32, high: u32) -> Result<Option<(u32, u32)>, Code> {
        let model = &self.gpu.model;
        let (idle, most) = (model.clock_idle_mhz, model.clock_graphics_mhz);
        // The clock of the default power is taken to be the highest one (assumed).
        match (low, high) {
            (LIMIT_NONE, LIMIT_NONE) => Ok(None),
            (LIMIT_TDP, LIMIT_TDP | LIMIT_NONE) => Ok(Some((most, most))),
            (LIMIT_NONE, LIMIT_TDP) => Ok(Some((idle, most))),
            (LIMITS.., _) | (_, LIMITS..) => Err(Code::INVALID_ARGUMENT),
            (low, high) if low > high => Err(Code::INVALID_ARGUMENT),
            range => Ok(Some(range)),
        }
    }

    /// The range that `nvmlDeviceSetMemoryLockedClocks` means, in MHz; since Ampere, as NVML's header says.
    pub fn memory_lock(&self, low: u32, high: u32) -> Result<(u32, u32), Code> {
        if self.gpu.model.architecture < Architecture::Ampere {
            return Err(Code::NOT_SUPPORTED);
        }
        if low > high { Err(Code::INVALID_ARGUMENT) } else { Ok((low, high)) }
    }

    /// Checks a pair of application clocks, memory and graphics in MHz.
    pub fn application_clocks(&self, memory: u32, graphics: u32) -> Result<(u32, u32), Code> {
        let beside = self.supported_graphics_clocks(memory).map_err(|_| Code::INVALID_ARGUMENT)?;
        if beside.contains(&graphics) { Ok((memory, graphics)) } else { Err(Code::INVALID_ARGUMENT) }
    }

    /// Checks a power limit, in milliwatts.
    pub fn power_limit(&self, milliwatts: u32) -> Result<u32, Code> {
        let (low, high) = self.power_limits_milliwatts();
        if (low..=high).contains(&milliwatts) { Ok(milliwatts) } else { Err(Code::INVALID_ARGUMENT) }
    }

    /// Lowest and highest power limit that can be set, in milliwatts.
    pub fn power_limits_milliwatts(&self) -> (u32, u32) {
        let model = &self.gpu.model;
        (model.power_limit_min_watts * 1000, model.power_limit_max_watts * 1000)
    }

    /// Modes of the GPU.
    pub fn modes(&self) -> Modes {
        self.snapshot.state.modes.get(&self.gpu.uuid).cloned().unwrap_or_else(Modes::initial)
    }
}
