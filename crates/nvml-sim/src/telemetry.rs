//! Readings of a GPU: what follows from its load and the node's clock, or what a person has set. It knows how readings
//! follow from each other, not how they are asked for.

use crate::bytes::Bytes;
use crate::code::Code;
use crate::counters::{Drive, Pace, Quantity, Totals};
use crate::model::Architecture;
use crate::modes::ComputeMode;
use crate::overrides::RecoveryAction;
use crate::snapshot::GpuView;
use crate::throttle::{Reason, Reasons};

/// Utilisation is that of a second, the longest that NVML's documentation gives a sample.
const UTILIZATION_US: u64 = 1_000_000;
/// A sample of an engine, as `nvmlDeviceGetEncoderUtilization` tells its length.
pub const ENGINE_SAMPLE_US: u32 = 167_000;
/// The average power is that of a second, as NVML's documentation of `nvmlDeviceGetPowerUsage` says.
const POWER_US: u64 = 1_000_000;
/// PCIe throughput is that of 20 ms, as NVML's documentation says.
const PCIE_US: u64 = 20_000;
/// HBM is so much warmer than the die (assumed).
const HBM_WARMER_CELSIUS: u32 = 6;

/// A media engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Encoders.
    Encoder,
    /// Decoders.
    Decoder,
    /// JPEG decoders.
    Jpeg,
    /// Optical flow.
    Ofa,
}

/// Seen from the GPU; numbers are `nvmlPcieUtilCounter_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Out.
    Tx = 0,
    /// In.
    Rx = 1,
}

/// Percent of a rate in thousandths.
fn percent(rate: u64) -> u32 {
    u32::try_from((rate + 5) / 10).unwrap_or(100).min(100)
}

impl GpuView<'_> {
    /// What decides how its counters rise.
    pub fn drive(&self) -> Drive<'_> {
        Drive::of(self.gpu, &self.snapshot.state)
    }

    /// The node's time, in microseconds since 1970.
    pub fn now_us(&self) -> u64 {
        self.snapshot.state.clock.now_us()
    }

    /// The GPU now.
    pub fn pace(&self) -> Pace {
        self.drive().at(self.now_us())
    }

    /// All counters now, and when that is in microseconds since 1970.
    pub fn totals(&self) -> (Totals, u64) {
        let now = self.now_us();
        (self.drive().totals(now), now)
    }

    fn total(&self, of: Quantity) -> u64 {
        self.totals().0.get(of)
    }

    fn average(&self, of: Quantity, window_us: u64) -> u64 {
        self.drive().average(of, window_us, self.now_us())
    }

    fn percent(&self, of: Quantity, window_us: u64) -> u32 {
        percent(self.average(of, window_us))
    }

    /// Degrees Celsius of the die.
    pub fn temperature(&self) -> u32 {
        self.drive().celsius(self.now_us())
    }

    /// Degrees Celsius of memory; `NOT_SUPPORTED` where it has no sensor.
    pub fn memory_temperature(&self) -> Result<u32, Code> {
        match self.gpu.model.temperature_memory_max_celsius {
            0 => Err(Code::NOT_SUPPORTED),
            _ => Ok(self.temperature().saturating_add(HBM_WARMER_CELSIUS)),
        }
    }

    /// Degrees Celsius to the nearest temperature that slows the GPU down: the driver's, as it comes first. Since Ada, as
    /// listings show it.
    pub fn temperature_margin(&self) -> Result<i32, Code> {
        let model = &self.gpu.model;
        if model.architecture < Architecture::Ada {
            return Err(Code::NOT_SUPPORTED);
        }
        let nearest = model.temperature_max_celsius.min(model.temperature_slowdown_celsius);
        Ok(nearest as i32 - self.temperature() as i32)
    }

    /// Fails where JPEG decoders and optical flow accelerators tell nothing: before Turing, as NVML's header says.
    pub fn has_jpeg(&self) -> Result<(), Code> {
        if self.gpu.model.architecture < Architecture::Turing { Err(Code::NOT_SUPPORTED) } else { Ok(()) }
    }

    /// Percent of the last second that kernels ran, and that memory was read or written.
    pub fn utilization(&self) -> (u32, u32) {
        let [busy, dram] =
            self.drive().averages([Quantity::Busy, Quantity::Dram], UTILIZATION_US, self.now_us());
        (percent(busy), percent(dram))
    }

    /// Percent that a media engine worked, over the last `ENGINE_SAMPLE_US`.
    pub fn engine_utilization(&self, engine: Engine) -> u32 {
        let quantity = match engine {
            Engine::Encoder => Quantity::Encoder,
            Engine::Decoder => Quantity::Decoder,
            Engine::Jpeg => Quantity::Jpeg,
            Engine::Ofa => Quantity::Ofa,
        };
        self.percent(quantity, ENGINE_SAMPLE_US.into())
    }

    /// Whether no kernel runs at this moment.
    pub fn is_idle(&self) -> bool {
        self.pace().activity.busy == 0
    }

    /// Milliwatts drawn at this moment.
    pub fn power_milliwatts(&self) -> u32 {
        u32::try_from(self.pace().milliwatts).unwrap_or(u32::MAX)
    }

    /// Milliwatts drawn on average of the last second.
    pub fn power_average_milliwatts(&self) -> u32 {
        u32::try_from(self.average(Quantity::Energy, POWER_US)).unwrap_or(u32::MAX)
    }

    /// Milliwatts as `nvmlDeviceGetPowerUsage` tells them: of this moment before Ampere and on GA100, the average of a second
    /// on later ones, as NVML's documentation says. GA100 is the one with HBM.
    pub fn power_usage_milliwatts(&self) -> u32 {
        let model = &self.gpu.model;
        let is_ga100 = model.architecture == Architecture::Ampere && model.has_hbm();
        if model.architecture < Architecture::Ampere || is_ga100 {
            self.power_milliwatts()
        } else {
            self.power_average_milliwatts()
        }
    }

    /// The power limit in milliwatts, as it was set or the model's.
    pub fn power_limit_milliwatts(&self) -> u32 {
        u32::try_from(self.drive().limit_milliwatts()).unwrap_or(u32::MAX)
    }

    /// Energy since the driver was loaded, in millijoules.
    pub fn energy_millijoules(&self) -> u64 {
        self.total(Quantity::Energy)
    }

    /// Frame buffer used by the load and by processes.
    pub fn memory_used(&self) -> Bytes {
        let usable = self.gpu.model.memory_usable();
        let set = self.overrides().and_then(|set| set.memory_used);
        // The node file may have changed since it was set.
        let own = || self.memory_of_load(usable).0.saturating_add(self.processes_memory().0);
        set.unwrap_or_else(|| Bytes(own())).min(usable)
    }

    /// The load's share of some memory.
    pub fn memory_of_load(&self, of: Bytes) -> Bytes {
        Bytes(of.0 / 1000 * u64::from(self.pace().activity.memory_used))
    }

    /// The PCIe generation that the link runs at: the first one in P8, as listings show.
    pub fn pcie_generation(&self) -> u32 {
        if self.performance_state() == 8 { 1 } else { self.gpu.model.pcie_generation }
    }

    /// Percent of the PCIe link's bandwidth that the busier direction used in the last second.
    pub fn bus_utilization(&self) -> u32 {
        let all = self.drive().pcie_bandwidth().max(1);
        let used = |of| self.average(of, UTILIZATION_US) * 100 / all;
        u32::try_from(used(Quantity::PcieTx).max(used(Quantity::PcieRx))).unwrap_or(100).min(100)
    }

    /// PCIe throughput of the last 20 ms, in KB/s.
    pub fn pcie_throughput(&self, direction: Direction) -> u32 {
        let quantity = match direction {
            Direction::Tx => Quantity::PcieTx,
            Direction::Rx => Quantity::PcieRx,
        };
        u32::try_from(self.average(quantity, PCIE_US) / 1000).unwrap_or(u32::MAX)
    }

    /// Bytes over PCIe since the driver was loaded.
    pub fn pcie_bytes(&self, direction: Direction) -> u64 {
        self.total(match direction {
            Direction::Tx => Quantity::PcieTx,
            Direction::Rx => Quantity::PcieRx,
        })
    }

    /// Bytes over an NVLink since the driver was loaded: 0 over one that ends nowhere.
    pub fn nvlink_bytes(&self, link: u32, direction: Direction) -> Result<u64, Code> {
        if self.link(link)?.is_none() {
            return Ok(0);
        }
        Ok(self.total(match direction {
            Direction::Tx => Quantity::NvlinkTx,
            Direction::Rx => Quantity::NvlinkRx,
        }))
    }

    /// What keeps clocks down at this moment.
    pub fn throttle_reasons(&self) -> Reasons {
        self.pace().reasons
    }

    /// How long a reason has kept clocks down since the driver was loaded, in nanoseconds.
    pub fn throttle_ns(&self, reason: Reason) -> u64 {
        self.total(reason.quantity())
    }

    /// How long clocks have been violated since the driver was loaded, in nanoseconds, by `nvmlPerfPolicyType_t`; and
    /// the time now in microseconds since 1970.
    pub fn violation(&self, policy: u32) -> Result<(u64, u64), Code> {
        let (totals, now) = self.totals();
        let ns = match policy {
            0 => totals.get(Quantity::PowerCap),
            1 => totals.get(Quantity::Hot),
            2 => totals.get(Quantity::SyncBoost),
            // A limit of the board reaches the GPU as a power brake.
            3 => totals.get(Quantity::PowerBrake),
            4 => totals.get(Quantity::Idle),
            // Voltage is not simulated, so it never limits.
            5 => 0,
            // Below application clocks, and below base clocks: only the hardware goes there.
            10 => totals.get(Quantity::Limited),
            11 => totals.get(Quantity::HwSlowdown),
            _ => return Err(Code::INVALID_ARGUMENT),
        };
        Ok((ns, now))
    }

    /// Which processes may compute. A GPU with MIG on has the default mode, as NVML documents.
    pub fn compute_mode(&self) -> ComputeMode {
        if self.is_mig_enabled() { ComputeMode::Default } else { self.modes().compute_mode }
    }

    /// Whether the driver stays loaded without clients.
    pub fn persistence_mode(&self) -> bool {
        self.modes().persistence_mode
    }

    /// What the driver says must be done with the GPU.
    pub fn recovery_action(&self) -> RecoveryAction {
        let set = self.overrides().and_then(|set| set.recovery_action);
        set.unwrap_or_else(|| self.snapshot.state.recovery_action(&self.gpu.uuid))
    }
}
