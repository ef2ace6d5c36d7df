//! What a look at the node tells of a GPU's damage, with the refusals that NVML's documentation gives. It changes nothing.

use std::collections::BTreeMap;

use super::counter::{
    Cause, Counter, ErrorKind, LinkError, MemoryLocation, Place, Repair, SramErrors, SramPart,
};
use super::{Damage, RetiredPage};
use crate::code::{Code, numbered};
use crate::faults::spread;
use crate::mig::{ComputeInstanceView, DeviceView};
use crate::model::Architecture;
use crate::snapshot::GpuView;

/// Spare rows of a bank: its ninth remapping fails (NVIDIA's documentation of GPU memory errors).
const SPARE_ROWS: u32 = 8;

/// Since when errors are counted; numbers are `nvmlEccCounterType_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterSpan {
    /// Since the driver was loaded or the GPU was reset.
    Volatile = 0,
    /// Ever.
    Aggregate = 1,
}

impl CounterSpan {
    /// The span of a number.
    pub fn from_number(number: u32) -> Result<CounterSpan, Code> {
        numbered(&[CounterSpan::Volatile, CounterSpan::Aggregate], number, |span| span as u32)
    }
}

/// Remapped rows of a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RemappedRows {
    /// Rows remapped for correctable errors, those included that wait for a reset.
    pub correctable: u32,
    /// The same for uncorrectable ones.
    pub uncorrectable: u32,
    /// Of `correctable`, those that wait.
    pub correctable_pending: u32,
    /// Of `uncorrectable`, those that wait.
    pub uncorrectable_pending: u32,
    /// Whether a remapping ever failed.
    pub failed: bool,
}

impl RemappedRows {
    /// Whether a row waits for a reset.
    pub fn is_pending(self) -> bool {
        self.correctable_pending + self.uncorrectable_pending > 0
    }
}

/// How many banks of memory have how many spare rows left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RowHistogram {
    /// All.
    pub max: u32,
    /// Most.
    pub high: u32,
    /// Some.
    pub partial: u32,
    /// Few.
    pub low: u32,
    /// None.
    pub none: u32,
}

/// Errors of the chip's own memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SramStatus<'a> {
    damage: Option<&'a Damage>,
}

/// Uncorrectable errors at one address of the chip's own memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UniqueError {
    /// The part of the chip.
    pub part: SramPart,
    /// How they were found.
    pub found: SramErrors,
    /// The address within the part.
    pub address: u32,
}

impl<'a> SramStatus<'a> {
    /// Every uncorrectable error that was ever counted, each at an address of its own, as `is_threshold_exceeded` takes them.
    /// Addresses are four bytes apart (assumed).
    pub fn unique_errors(&self) -> impl Iterator<Item = UniqueError> + use<'a> {
        let lasting = self.damage.into_iter().flat_map(|damage| &damage.lasting);
        lasting.flat_map(|(counter, count)| {
            let place = match *counter {
                Counter::Ecc(ErrorKind::Uncorrected, Place::Sram(found, part)) => Some((found, part)),
                _ => None,
            };
            // A count beyond 32 bits' worth of addresses is of no chip.
            let address = |index: u64| u32::try_from(index * 4 % (1 << 32)).unwrap_or_default();
            place.into_iter().flat_map(move |(found, part)| {
                (0..*count).map(move |index| UniqueError { part, found, address: address(index) })
            })
        })
    }

    /// How many `unique_errors` there are.
    pub fn unique_errors_count(&self) -> u64 {
        SramErrors::ALL.iter().map(|found| self.uncorrected(CounterSpan::Aggregate, *found)).sum()
    }

    /// Corrected errors.
    pub fn corrected(&self, span: CounterSpan) -> u64 {
        let counter = Counter::Ecc(ErrorKind::Corrected, Place::At(MemoryLocation::Sram));
        sum(self.damage, span, |of| of == counter)
    }

    /// Uncorrectable errors that were found in one way.
    pub fn uncorrected(&self, span: CounterSpan, found: SramErrors) -> u64 {
        sum(
            self.damage,
            span,
            |of| matches!(of, Counter::Ecc(ErrorKind::Uncorrected, Place::Sram(by, _)) if by == found),
        )
    }

    /// Uncorrectable errors of one part, ever.
    pub fn uncorrected_in(&self, part: SramPart) -> u64 {
        let span = CounterSpan::Aggregate;
        sum(
            self.damage,
            span,
            |of| matches!(of, Counter::Ecc(ErrorKind::Uncorrected, Place::Sram(_, at)) if at == part),
        )
    }

    /// Whether there are so many that NVIDIA's diagnosis condemns the GPU: more than 4 of parity, or more than 2 of SEC-DED
    /// (NVIDIA's documentation of GPU memory errors). Each counted error is taken for one of its own (assumed).
    pub fn is_threshold_exceeded(&self) -> bool {
        let ever = |found| self.uncorrected(CounterSpan::Aggregate, found);
        ever(SramErrors::Parity) > 4 || ever(SramErrors::SecDed) > 2
    }
}

impl<'a> GpuView<'a> {
    /// What has gone wrong in the GPU, if anything has.
    pub fn damage(&self) -> Option<&'a Damage> {
        self.snapshot.state.damage.get(&self.gpu.uuid)
    }

    /// Memory errors of a location, or of all. `NOT_SUPPORTED` while ECC is off, and as documented of a GPU whose MIG is on:
    /// its volatile counters are those of its MIG devices.
    pub fn ecc_errors(
        &self,
        kind: ErrorKind,
        span: CounterSpan,
        location: Option<MemoryLocation>,
    ) -> Result<u64, Code> {
        if !self.ecc_mode()?.current {
            return Err(Code::NOT_SUPPORTED);
        }
        if span == CounterSpan::Volatile && location.is_some() && self.is_mig_enabled() {
            return Err(Code::NOT_SUPPORTED);
        }
        Ok(sum(self.damage(), span, |of| is_ecc(of, kind, location)))
    }

    /// Remapped rows: from Ampere on, and as documented not with MIG instances there.
    pub fn remapped_rows(&self) -> Result<RemappedRows, Code> {
        self.needs_row_remapping()?;
        if self.gpu_instances().next().is_some() {
            return Err(Code::NOT_SUPPORTED);
        }
        Ok(self.rows())
    }

    fn needs_row_remapping(&self) -> Result<(), Code> {
        if self.gpu.model.has_row_remapping() { Ok(()) } else { Err(Code::NOT_SUPPORTED) }
    }

    fn rows(&self) -> RemappedRows {
        let Some(damage) = self.damage() else { return RemappedRows::default() };
        let count = |counts: &BTreeMap<Counter, u64>, cause| narrow(count(counts, Counter::Rows(cause)));
        RemappedRows {
            correctable: count(&damage.lasting, Cause::Correctable),
            uncorrectable: count(&damage.lasting, Cause::Uncorrectable),
            correctable_pending: count(&damage.pending, Cause::Correctable),
            uncorrectable_pending: count(&damage.pending, Cause::Uncorrectable),
            failed: damage.lasting.contains_key(&Counter::FailedRows),
        }
    }

    /// Whether memory is broken that no spare row can stand for: a remapping failed (assumed). From Hopper on.
    pub fn has_unrepairable_memory(&self) -> Result<bool, Code> {
        if self.gpu.model.architecture < Architecture::Hopper {
            return Err(Code::NOT_SUPPORTED);
        }
        self.needs_row_remapping()?;
        Ok(self.rows().failed)
    }

    /// Uncorrectable errors of the chip's own memory by address: from Blackwell on, while ECC is on.
    pub fn unique_sram_errors(&self) -> Result<SramStatus<'a>, Code> {
        if self.gpu.model.architecture < Architecture::Blackwell {
            return Err(Code::NOT_SUPPORTED);
        }
        self.sram_status()
    }

    /// Spare rows by bank. Which bank a row is in follows from the GPU's UUID and the row's number.
    pub fn row_histogram(&self) -> Result<RowHistogram, Code> {
        self.needs_row_remapping()?;
        let banks = self.gpu.model.row_remapper_banks;
        let rows = self.rows();
        let remapped = u64::from(rows.correctable) + u64::from(rows.uncorrectable);
        let seed = self.gpu.uuid.bytes().fold(0, |seed, byte| spread(seed, byte.into()));
        let mut used: BTreeMap<u64, u32> = BTreeMap::new();
        let places = u64::from(banks * SPARE_ROWS);
        for row in 0..remapped.min(places) {
            let mut bank = spread(seed, row) % u64::from(banks);
            // A bank without spare rows takes none: the next one does.
            while used.get(&bank) == Some(&SPARE_ROWS) {
                bank = (bank + 1) % u64::from(banks);
            }
            *used.entry(bank).or_default() += 1;
        }
        let mut histogram = RowHistogram { max: banks, ..RowHistogram::default() };
        for count in used.into_values() {
            histogram.max -= 1;
            // Where one ends and the next begins is assumed, but that one row leaves a bank "high" (nvidia-smi -q).
            *match count {
                0..=2 => &mut histogram.high,
                3..=5 => &mut histogram.partial,
                6..SPARE_ROWS => &mut histogram.low,
                _ => &mut histogram.none,
            } += 1;
        }
        Ok(histogram)
    }

    /// Whether a part waits for a reset that replaces it: from Ampere on.
    pub fn is_repair_pending(&self, part: Repair) -> Result<bool, Code> {
        self.needs_row_remapping()?;
        Ok(self.damage().is_some_and(|damage| damage.pending.contains_key(&Counter::Repairs(part))))
    }

    /// Retired pages: up to Turing, since when rows are remapped.
    pub fn retired_pages(&self, cause: Cause) -> Result<Vec<RetiredPage>, Code> {
        self.needs_page_retirement()?;
        let pages = self.damage().map(|damage| damage.pages.as_slice()).unwrap_or_default();
        Ok(pages.iter().filter(|page| page.cause == cause).copied().collect())
    }

    /// Whether a page waits for a reset.
    pub fn has_pages_pending(&self) -> Result<bool, Code> {
        self.needs_page_retirement()?;
        let is_page = |counter: &Counter| matches!(counter, Counter::Pages(_));
        Ok(self.damage().is_some_and(|damage| damage.pending.keys().any(is_page)))
    }

    fn needs_page_retirement(&self) -> Result<(), Code> {
        if self.gpu.model.has_page_retirement() { Ok(()) } else { Err(Code::NOT_SUPPORTED) }
    }

    /// Errors of the chip's own memory: from Ampere on, while ECC is on.
    pub fn sram_status(&self) -> Result<SramStatus<'a>, Code> {
        let can = self.gpu.model.architecture >= Architecture::Ampere && self.ecc_mode()?.current;
        if can { Ok(SramStatus { damage: self.damage() }) } else { Err(Code::NOT_SUPPORTED) }
    }

    /// PCIe replays since the driver was loaded.
    pub fn pcie_replays(&self) -> u32 {
        narrow(sum(self.damage(), CounterSpan::Volatile, |of| of == Counter::PcieReplays))
    }

    /// Errors of an NVLink since the driver was loaded; a link that is not there is refused.
    pub fn nvlink_errors(&self, link: u32, error: LinkError) -> Result<u64, Code> {
        self.link(link)?;
        Ok(sum(self.damage(), CounterSpan::Volatile, |of| of == Counter::NvLink(link, error)))
    }

    /// Errors of all NVLinks.
    pub fn nvlink_errors_of_all(&self, error: LinkError) -> u64 {
        let is_one = |of| matches!(of, Counter::NvLink(_, what) if what == error);
        sum(self.damage(), CounterSpan::Volatile, is_one)
    }
}

impl ComputeInstanceView<'_> {
    /// Memory errors of its GPU instance: as documented, uncorrectable volatile ones outside device memory alone.
    pub fn ecc_errors(
        &self,
        kind: ErrorKind,
        span: CounterSpan,
        location: MemoryLocation,
    ) -> Result<u64, Code> {
        let told = kind == ErrorKind::Uncorrected
            && span == CounterSpan::Volatile
            && location != MemoryLocation::Dram;
        if !told || !self.of.gpu.ecc_mode()?.current {
            return Err(Code::NOT_SUPPORTED);
        }
        let counts = self.of.gpu.damage().and_then(|damage| damage.of_instances.get(&self.of.id));
        Ok(counts.map_or(0, |counts| sum_of(counts, |of| is_ecc(of, kind, Some(location)))))
    }
}

impl DeviceView<'_> {
    /// Memory errors of a location, of a GPU or a MIG device.
    pub fn ecc_errors(
        &self,
        kind: ErrorKind,
        span: CounterSpan,
        location: MemoryLocation,
    ) -> Result<u64, Code> {
        match self {
            DeviceView::Gpu(gpu) => gpu.ecc_errors(kind, span, Some(location)),
            DeviceView::Mig(device) => device.ecc_errors(kind, span, location),
        }
    }
}

fn is_ecc(counter: Counter, kind: ErrorKind, location: Option<MemoryLocation>) -> bool {
    let Counter::Ecc(of, place) = counter else { return false };
    of == kind && location.is_none_or(|location| location == place.location())
}

fn sum(damage: Option<&Damage>, span: CounterSpan, of: impl Fn(Counter) -> bool) -> u64 {
    damage.map_or(0, |damage| match span {
        CounterSpan::Volatile => sum_of(&damage.volatile, of),
        CounterSpan::Aggregate => sum_of(&damage.lasting, of),
    })
}

fn sum_of(counts: &BTreeMap<Counter, u64>, of: impl Fn(Counter) -> bool) -> u64 {
    let counted = counts.iter().filter(|(counter, _)| of(**counter)).map(|(_, count)| *count);
    counted.fold(0, u64::saturating_add)
}

fn count(counts: &BTreeMap<Counter, u64>, counter: Counter) -> u64 {
    counts.get(&counter).copied().unwrap_or(0)
}

fn narrow(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
