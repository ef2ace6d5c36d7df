//! Sums of all quantities that a GPU counts, exact in units fine enough that no division is needed before the end. It
//! knows units and their form in a file.

use std::collections::BTreeMap;

use serde::de::{Deserialize, Deserializer, Error};
use serde::{Serialize, Serializer};

macro_rules! quantities {
    ($($(#[$doc:meta])* $name:ident = $unit:literal;)*) => {
        /// What is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Quantity {
            $($(#[$doc])* $name,)*
        }

        impl Quantity {
            /// All of them.
            pub const ALL: &'static [Quantity] = &[$(Quantity::$name,)*];

            fn name(self) -> &'static str {
                match self {
                    $(Quantity::$name => stringify!($name),)*
                }
            }

            /// Fine units in one of those that are told.
            fn unit(self) -> u128 {
                match self {
                    $(Quantity::$name => $unit,)*
                }
            }
        }

        const COUNT: usize = [$(Quantity::$name,)*].len();
    };
}

quantities! {
    /// Energy, told in millijoules; a rate is in milliwatts.
    Energy = 1_000_000;
    /// Time with kernels, told in nanoseconds as all times; a rate is in thousandths.
    Busy = 1;
    /// Time with memory read or written.
    Dram = 1;
    /// Time of encoders.
    Encoder = 1;
    /// Time of decoders.
    Decoder = 1;
    /// Time of JPEG decoders.
    Jpeg = 1;
    /// Time of the optical flow engine.
    Ofa = 1;
    /// Bytes over PCIe to the machine; a rate is in bytes a second.
    PcieTx = 1_000_000;
    /// Bytes over PCIe from the machine.
    PcieRx = 1_000_000;
    /// Bytes out over each active NVLink.
    NvlinkTx = 1_000_000;
    /// Bytes in over each active NVLink.
    NvlinkRx = 1_000_000;
    /// Cycles of a multiprocessor; a rate is in thousandths of a cycle a microsecond.
    SmCycles = 1000;
    /// Cycles in which it had work, on average of all.
    SmActive = 1000;
    /// Cycles times the share of warps that were resident.
    SmOccupancy = 1000;
    /// Cycles of tensor cores.
    Tensor = 1000;
    /// Cycles of integer pipes.
    Integer = 1000;
    /// Cycles of FP64 pipes.
    Fp64 = 1000;
    /// Cycles of FP32 pipes.
    Fp32 = 1000;
    /// Cycles of FP16 pipes.
    Fp16 = 1000;
    /// Time with clocks low since nothing runs.
    Idle = 1;
    /// Time with clocks as someone set them.
    ClocksSetting = 1;
    /// Time at the power limit.
    PowerCap = 1;
    /// Time slowed down by the hardware.
    HwSlowdown = 1;
    /// Time held to the clocks of a group.
    SyncBoost = 1;
    /// Time slowed down by the driver since it was hot.
    SwThermal = 1;
    /// Time slowed down by the hardware since it was hot.
    HwThermal = 1;
    /// Time slowed down by an external power brake.
    PowerBrake = 1;
    /// Time with clocks as a display needs them.
    DisplayClock = 1;
    /// Time slowed down since it was hot, by whichever.
    Hot = 1;
    /// Time below the clocks that were asked for, whatever the reason.
    Limited = 1;
}

/// Sums, or rates, of all quantities in fine units: rate times microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals([u128; COUNT]);

impl Default for Totals {
    fn default() -> Self {
        Totals([0; COUNT])
    }
}

impl Totals {
    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        *self == Totals::default()
    }

    /// In fine units.
    pub fn fine(&self, of: Quantity) -> u128 {
        self.0.get(of as usize).copied().unwrap_or(0)
    }

    /// In the unit that is told.
    pub fn get(&self, of: Quantity) -> u64 {
        u64::try_from(self.fine(of) / of.unit()).unwrap_or(u64::MAX)
    }

    /// Puts a rate or sum.
    pub fn put(&mut self, of: Quantity, fine: u128) {
        if let Some(place) = self.0.get_mut(of as usize) {
            *place = fine;
        }
    }

    /// Adds rates that held for some microseconds.
    pub fn add(&mut self, rates: &Totals, us: u64) {
        for (sum, rate) in self.0.iter_mut().zip(rates.0) {
            *sum = sum.saturating_add(rate.saturating_mul(us.into()));
        }
    }
}

/// In a file: what was counted by name, as text since JSON's readers take no number of this size.
impl Serialize for Totals {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let counted = Quantity::ALL.iter().filter(|quantity| self.fine(**quantity) > 0);
        serializer.collect_map(counted.map(|quantity| (quantity.name(), self.fine(*quantity).to_string())))
    }
}

impl<'de> Deserialize<'de> for Totals {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut totals = Totals::default();
        for (name, value) in BTreeMap::<String, String>::deserialize(deserializer)? {
            let quantity = Quantity::ALL.iter().find(|quantity| quantity.name() == name);
            let quantity =
                quantity.ok_or_else(|| D::Error::custom(format!("nothing is counted as `{name}`")))?;
            totals.put(*quantity, value.parse().map_err(D::Error::custom)?);
        }
        Ok(totals)
    }
}
