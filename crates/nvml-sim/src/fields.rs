//! Field values: readings by number, as `nvmlDeviceGetFieldValues` gives them. It knows the numbers and value
//! types of the fields that are simulated.
//!
//! None of them is among 251 to 273, whose numbers changed with driver 580.82.

use crate::code::Code;
use crate::damage::{Cause, CounterSpan, ErrorKind};
use crate::snapshot::GpuView;

/// The value of a field, with its NVML type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldValue {
    /// `NVML_VALUE_TYPE_UNSIGNED_INT`.
    UnsignedInt(u32),
    /// `NVML_VALUE_TYPE_UNSIGNED_LONG_LONG`.
    UnsignedLongLong(u64),
}

/// One more than the highest field number of NVML 13.0.
const FIELDS_END: u32 = 274;
/// The first driver branch that knows the recovery action (assumed).
const RECOVERY_ACTION_SINCE: u32 = 565;

impl GpuView<'_> {
    /// The value of a field; `scope` is a link or a power scope.
    pub fn field(&self, field: u32, scope: u32) -> Result<FieldValue, Code> {
        use FieldValue::{UnsignedInt, UnsignedLongLong};
        let model = &self.gpu.model;
        let milliwatts = |watts: u32| Ok(UnsignedInt(watts * 1000));
        let links = u32::try_from(self.gpu.links.len()).unwrap_or(u32::MAX);
        match field {
            // ECC mode, current and pending.
            1 => Ok(UnsignedInt(self.ecc_mode()?.current.into())),
            2 => Ok(UnsignedInt(self.ecc_mode()?.pending.into())),
            // ECC error counts, volatile and aggregate.
            3 => self.ecc_errors(ErrorKind::Corrected, CounterSpan::Volatile, None).map(UnsignedLongLong),
            4 => self.ecc_errors(ErrorKind::Uncorrected, CounterSpan::Volatile, None).map(UnsignedLongLong),
            5 => self.ecc_errors(ErrorKind::Corrected, CounterSpan::Aggregate, None).map(UnsignedLongLong),
            6 => self.ecc_errors(ErrorKind::Uncorrected, CounterSpan::Aggregate, None).map(UnsignedLongLong),
            // Retired pages, single and double bit, and pending: until row remapping came.
            29 => Ok(UnsignedLongLong(self.retired_pages(Cause::Correctable)?.len() as u64)),
            30 => Ok(UnsignedLongLong(self.retired_pages(Cause::Uncorrectable)?.len() as u64)),
            31 => Ok(UnsignedLongLong(self.has_pages_pending()?.into())),
            83 => Ok(UnsignedLongLong(self.energy_millijoules())),
            91 if model.nvlinks > 0 => Ok(UnsignedInt(links)),
            // PCIe replays, and their roll-overs.
            94 => Ok(UnsignedInt(self.pcie_replays())),
            95 => Ok(UnsignedInt(0)),
            // Remapped rows: correctable, uncorrectable, pending, failure.
            142 => Ok(UnsignedInt(self.remapped_rows()?.correctable)),
            143 => Ok(UnsignedInt(self.remapped_rows()?.uncorrectable)),
            144 => Ok(UnsignedInt(self.remapped_rows()?.is_pending().into())),
            145 => Ok(UnsignedInt(self.remapped_rows()?.failed.into())),
            147 if model.nvlinks > 0 => Ok(UnsignedInt(self.switch_links())),
            165 if model.nvlinks > 0 => match scope {
                link if link < links => Ok(UnsignedInt(1)),
                link if link < model.nvlinks => Ok(UnsignedInt(0)),
                _ => Err(Code::INVALID_ARGUMENT),
            },
            // Power drawn, average and at this moment.
            185 | 186 => Ok(UnsignedInt(self.power_milliwatts())),
            187 => milliwatts(model.power_limit_min_watts),
            // Highest, default, current and requested limit.
            188 | 189 | 190 | 192 => milliwatts(model.power_limit_watts),
            230 if self.driver_branch() >= RECOVERY_ACTION_SINCE => {
                Ok(UnsignedInt(self.recovery_action() as u32))
            }
            field if field < FIELDS_END => Err(Code::NOT_SUPPORTED),
            _ => Err(Code::INVALID_ARGUMENT),
        }
    }

    /// The number that a driver version begins with.
    pub fn driver_branch(&self) -> u32 {
        let version = &self.snapshot.node.driver_version;
        version.split('.').next().and_then(|branch| branch.parse().ok()).unwrap_or(0)
    }
}
