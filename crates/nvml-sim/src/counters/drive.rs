//! What a GPU makes of its load: clocks, power, throttling and rates of all counters at a time, given model, settings
//! and modes. It reads no clock and changes nothing.

use super::{Counters, Quantity, Totals};
use crate::load::{Activity, Load, LoadTime};
use crate::model::Model;
use crate::node::Gpu;
use crate::overrides::Overrides;
use crate::processes::ProcessLoad;
use crate::state::State;
use crate::throttle::{Reason, Reasons};

/// Bytes a second of one PCIe lane in each generation from the first, after line coding.
const PCIE_LANE: [u64; 6] =
    [250_000_000, 500_000_000, 984_600_000, 1_969_200_000, 3_938_500_000, 7_563_000_000];
const MB: u64 = 1_000_000;
/// Temperature follows the power of so long.
const HEAT_US: u64 = 60_000_000;

/// All that decides how a GPU's counters rise.
#[derive(Clone, Debug)]
pub struct Drive<'a> {
    model: &'a Model,
    load: &'a Load,
    time: LoadTime,
    overrides: Option<&'a Overrides>,
    limit_milliwatts: u32,
    graphics_range: (u32, u32),
    /// Whether someone asked for less than the highest clock.
    is_held: bool,
    /// The graphics clock while nothing runs.
    idle_mhz: u32,
    processes: ProcessLoad,
    counters: Counters,
}

/// A GPU at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// What runs.
    pub activity: Activity,
    /// Power drawn.
    pub milliwatts: u64,
    /// Clock of graphics and multiprocessors.
    pub clock_mhz: u32,
    /// What keeps clocks down.
    pub reasons: Reasons,
}

impl<'a> Drive<'a> {
    /// That of a GPU.
    pub fn of(gpu: &'a Gpu, state: &'a State) -> Drive<'a> {
        let overrides = state.overrides.get(&gpu.uuid);
        let modes = state.modes.get(&gpu.uuid);
        let (limit, most) =
            (modes.and_then(|modes| modes.power_limit_milliwatts), gpu.model.clock_graphics_mhz);
        let counters = state.counters.get(&gpu.uuid).cloned().unwrap_or_default();
        let switches = state.switches.gpus.get(&gpu.uuid);
        let shift = |state| switches.map_or(0, |switches| switches.graphics_shift(state));
        let (floor, ceiling) = modes.map_or((0, most), |modes| modes.graphics_range(&gpu.model));
        // An offset moves clocks that nobody has asked for.
        let is_held = ceiling < most;
        let ceiling = if is_held { ceiling } else { ceiling.saturating_add_signed(shift(0)) };
        // FNV-1a: GPUs of one model and load differ.
        let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let seed = gpu.uuid.bytes().fold(0xcbf2_9ce4_8422_2325, fold);
        Drive {
            model: &gpu.model,
            load: overrides.and_then(|set| set.load.as_ref()).unwrap_or_else(|| state.declared_load(gpu)),
            time: LoadTime { begun_us: counters.load_since_us, seed },
            overrides,
            limit_milliwatts: limit.unwrap_or(gpu.model.power_limit_watts * 1000),
            graphics_range: (floor.min(ceiling), ceiling),
            is_held,
            idle_mhz: gpu.model.clock_idle_mhz.saturating_add_signed(shift(8)),
            processes: ProcessLoad::of(state.processes.of(&gpu.uuid)),
            counters,
        }
    }

    /// Whether counters rise alike under both.
    pub fn is_like(&self, other: &Drive<'_>) -> bool {
        self.load == other.load
            && self.overrides == other.overrides
            && self.limit_milliwatts == other.limit_milliwatts
            && self.graphics_range == other.graphics_range
            && self.is_held == other.is_held
            && self.idle_mhz == other.idle_mhz
            && self.processes == other.processes
    }

    /// When the GPU was changed last, in microseconds since 1970.
    pub fn since_us(&self) -> u64 {
        self.counters.since_us
    }

    /// When its load began.
    pub fn load_since_us(&self) -> u64 {
        self.counters.load_since_us
    }

    /// Its load.
    pub fn load(&self) -> &'a Load {
        self.load
    }

    /// The limit that power is kept to, in milliwatts.
    pub fn limit_milliwatts(&self) -> u64 {
        self.limit_milliwatts.into()
    }

    fn idle_milliwatts(&self) -> u64 {
        u64::from(self.model.power_idle_watts) * 1000
    }

    /// What the GPU could draw above idling.
    fn span_milliwatts(&self) -> u64 {
        (u64::from(self.model.power_limit_watts) * 1000).saturating_sub(self.idle_milliwatts())
    }

    fn activity(&self, of_load: &Activity) -> Activity {
        let mut activity = of_load.beside(self.processes);
        // An engine that the model lacks does nothing.
        let model = self.model;
        for (part, engines) in [
            (&mut activity.encoder, model.encoders),
            (&mut activity.decoder, model.decoders),
            (&mut activity.jpeg, model.jpeg_decoders),
            (&mut activity.ofa, model.optical_flow_accelerators),
        ] {
            if engines == 0 {
                *part = 0;
            }
        }
        let Some(set) = self.overrides else { return activity };
        if let Some(percent) = set.utilization_gpu {
            activity = activity.with_busy(percent * 10);
        }
        if let Some(percent) = set.utilization_memory {
            activity.dram = percent * 10;
        }
        activity
    }

    /// What the GPU would draw if nothing held it.
    fn wanted_milliwatts(&self, activity: &Activity) -> u64 {
        match activity.power_watts {
            Some(watts) => u64::from(watts) * 1000,
            None => {
                // No two chips draw the same: 97 to 103 percent.
                let chip = 970 + self.time.seed / 8192 % 61;
                let above = self.span_milliwatts() * u64::from(activity.intensity()) / 1000 * chip / 1000;
                self.idle_milliwatts() + above
            }
        }
    }

    /// The GPU in an activity of its load.
    pub fn pace(&self, of_load: &Activity) -> Pace {
        let activity = self.activity(of_load);
        let set = self.overrides;
        let mut reasons = set.and_then(|set| set.throttle).unwrap_or_default();
        let hot = set.and_then(|set| set.temperature).unwrap_or(0);
        if hot >= self.model.temperature_slowdown_celsius {
            reasons = reasons.with(Reason::HwThermal);
        } else if hot >= self.model.temperature_max_celsius {
            reasons = reasons.with(Reason::SwThermal);
        }
        if reasons.has(Reason::HwThermal) || reasons.has(Reason::PowerBrake) {
            reasons = reasons.with(Reason::HwSlowdown);
        }
        let (wanted, limit) = (self.wanted_milliwatts(&activity), self.limit_milliwatts());
        let drawn = set.and_then(|set| set.power).map(|watts| u64::from(watts) * 1000);
        if drawn.map_or(wanted > limit, |drawn| drawn >= limit) {
            reasons = reasons.with(Reason::PowerCap);
        }
        // Thousandths of the clock that is left: a hardware slowdown at least halves it, as NVML's header says of it;
        // the driver's own three quarters are (assumed).
        let left = match (reasons.has(Reason::HwSlowdown), reasons.has(Reason::SwThermal)) {
            (true, _) => 500,
            (false, true) => 750,
            (false, false) => 1000,
        };
        let idle = self.idle_milliwatts();
        let slowed = idle + wanted.saturating_sub(idle) * left / 1000;
        let slowed = if wanted < idle { wanted } else { slowed };
        let milliwatts = drawn.unwrap_or(slowed.min(limit));
        let low = self.model.clock_idle_mhz;
        let (floor, ceiling) = self.graphics_range;
        let clock_mhz = if activity.busy == 0 {
            reasons = reasons.with(Reason::Idle);
            self.idle_mhz.clamp(floor, ceiling)
        } else {
            if self.is_held {
                reasons = reasons.with(Reason::ClocksSetting);
            }
            // Clock above idling goes with power above idling (assumed).
            let above = u64::from(ceiling.saturating_sub(low)) * left / 1000;
            let (may, would) = (limit.saturating_sub(idle), slowed.saturating_sub(idle));
            let above = if would > may { above * may / would.max(1) } else { above };
            low.saturating_add(u32::try_from(above).unwrap_or(0)).min(ceiling)
        };
        Pace { activity, milliwatts, clock_mhz, reasons }
    }

    /// The GPU at a time, in microseconds since 1970.
    pub fn at(&self, us: u64) -> Pace {
        self.pace(self.load.at(self.time, us))
    }

    /// PCIe bandwidth in bytes a second, each way.
    pub fn pcie_bandwidth(&self) -> u64 {
        let generation = (self.model.pcie_generation as usize).checked_sub(1);
        let lane = generation.and_then(|index| PCIE_LANE.get(index)).copied().unwrap_or(0);
        lane * u64::from(self.model.pcie_width)
    }

    /// NVLink bandwidth in bytes a second, of each link and way.
    fn nvlink(&self) -> u64 {
        u64::from(self.model.nvlink_mbps) * MB
    }

    /// Rates of all counters in a moment.
    fn rates(&self, pace: &Pace) -> Totals {
        let Pace { activity, milliwatts, clock_mhz, reasons } = pace;
        let mut rates = Totals::default();
        let mut put = |quantity, rate: u64| rates.put(quantity, rate.into());
        put(Quantity::Energy, *milliwatts);
        for (quantity, part) in [
            (Quantity::Busy, activity.busy),
            (Quantity::Dram, activity.dram),
            (Quantity::Encoder, activity.encoder),
            (Quantity::Decoder, activity.decoder),
            (Quantity::Jpeg, activity.jpeg),
            (Quantity::Ofa, activity.ofa),
        ] {
            put(quantity, part.into());
        }
        let (pcie, nvlink) = (self.pcie_bandwidth() / 1000, self.nvlink() / 1000);
        put(Quantity::PcieTx, pcie * u64::from(activity.pcie_tx));
        put(Quantity::PcieRx, pcie * u64::from(activity.pcie_rx));
        put(Quantity::NvlinkTx, nvlink * u64::from(activity.nvlink_tx));
        put(Quantity::NvlinkRx, nvlink * u64::from(activity.nvlink_rx));
        for (quantity, part) in [
            (Quantity::SmCycles, 1000),
            (Quantity::SmActive, activity.sm),
            (Quantity::SmOccupancy, activity.occupancy),
            (Quantity::Tensor, activity.tensor),
            (Quantity::Integer, activity.integer),
            (Quantity::Fp64, activity.fp64),
            (Quantity::Fp32, activity.fp32),
            (Quantity::Fp16, activity.fp16),
        ] {
            put(quantity, u64::from(*clock_mhz) * u64::from(part));
        }
        for reason in Reason::ALL {
            put(reason.quantity(), if reasons.has(*reason) { 1000 } else { 0 });
        }
        put(Quantity::Hot, if reasons.is_hot() { 1000 } else { 0 });
        put(Quantity::Limited, if reasons.limit() { 1000 } else { 0 });
        rates
    }

    /// What comes together between two times.
    fn between(&self, from_us: u64, to_us: u64) -> Totals {
        let mut sum = Totals::default();
        self.load.spent(self.time, from_us, to_us.max(from_us), |activity, us| {
            sum.add(&self.rates(&self.pace(activity)), us);
        });
        sum
    }

    /// All counters at a time.
    pub fn totals(&self, us: u64) -> Totals {
        let mut totals = self.counters.totals;
        totals.add(&self.between(self.counters.since_us, us), 1);
        totals
    }

    /// A rate, on average of the last microseconds before a time as far as nothing was changed in them.
    pub fn average(&self, of: Quantity, window_us: u64, us: u64) -> u64 {
        let [rate] = self.averages([of], window_us, us);
        rate
    }

    /// The same of several quantities.
    pub fn averages<const N: usize>(&self, of: [Quantity; N], window_us: u64, us: u64) -> [u64; N] {
        let from = us.saturating_sub(window_us).max(self.counters.since_us);
        let (sum, span) = match us.checked_sub(from).filter(|span| *span > 0) {
            Some(span) => (self.between(from, us), u128::from(span)),
            None => (self.rates(&self.at(us)), 1),
        };
        of.map(|of| u64::try_from((sum.fine(of) + span / 2) / span).unwrap_or(u64::MAX))
    }

    /// The power that the temperature follows, in milliwatts: the average of a minute, over changes.
    pub fn heat_milliwatts(&self, us: u64) -> u64 {
        let since = self.counters.since_us;
        let known = us.saturating_sub(since).min(HEAT_US);
        let before = self.counters.heat_milliwatts.unwrap_or(self.idle_milliwatts());
        let drawn = self.between(us.saturating_sub(known), us).fine(Quantity::Energy);
        let before = u128::from(before) * u128::from(HEAT_US - known);
        u64::try_from((drawn + before) / u128::from(HEAT_US)).unwrap_or(u64::MAX)
    }

    /// The die's temperature: what was set, else between idling and 15 degrees below the highest of normal operation at
    /// full power (assumed).
    pub fn celsius(&self, us: u64) -> u32 {
        if let Some(celsius) = self.overrides.and_then(|set| set.temperature) {
            return celsius;
        }
        let model = self.model;
        let most = model.temperature_max_celsius.saturating_sub(1);
        let rise = u64::from(
            model.temperature_max_celsius.saturating_sub(15).saturating_sub(model.temperature_idle_celsius),
        );
        let above = self.heat_milliwatts(us).saturating_sub(self.idle_milliwatts());
        let risen = u32::try_from(rise * above / self.span_milliwatts().max(1)).unwrap_or(u32::MAX);
        let celsius = model.temperature_idle_celsius.saturating_add(risen);
        celsius.min(most.max(model.temperature_idle_celsius))
    }
}
