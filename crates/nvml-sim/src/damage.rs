//! What goes wrong in a GPU and is counted: memory errors, remapped rows, retired pages, PCIe replays, NVLink errors. It
//! knows what lasts and what a reset ends, not how programs ask for it nor what makes it happen.

mod counter;
mod views;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::faults::spread;

pub use counter::{
    Cause, Counter, ErrorKind, LinkError, MemoryLocation, ParseCounterError, Place, Repair, SramErrors,
    SramPart,
};
pub use views::{CounterSpan, RemappedRows, RowHistogram, SramStatus, UniqueError};

/// The most pages that NVIDIA GPUs retire (NVIDIA's documentation of dynamic page retirement).
pub const PAGES_MAX: usize = 64;
/// Size of a page that is retired, in bytes.
const PAGE: u64 = 4096;

/// What has gone wrong in one GPU.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Damage {
    /// Since the driver was loaded or the GPU was reset.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub volatile: BTreeMap<Counter, u64>,
    /// Ever.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub lasting: BTreeMap<Counter, u64>,
    /// As `volatile`, by MIG GPU instance; counted for the GPU too.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub of_instances: BTreeMap<u32, BTreeMap<Counter, u64>>,
    /// Rows and pages that the next reset takes out of use.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pending: BTreeMap<Counter, u64>,
    /// The retired pages, in the order of retirement.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pages: Vec<RetiredPage>,
}

/// A page that is used no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RetiredPage {
    /// Why.
    pub cause: Cause,
    /// Its address in the GPU's memory.
    pub address: u64,
    /// When, in microseconds since 1970.
    pub time_us: u64,
}

/// Errors that are counted at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Counted {
    /// Where.
    pub counter: Counter,
    /// How many.
    pub by: u32,
    /// The MIG GPU instance in which they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_instance: Option<u32>,
    /// Whether rows and pages are out of use already, as after a reset.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub settled: bool,
}

impl Damage {
    /// Counts errors, at a time in microseconds since 1970, in a memory of so many bytes.
    pub fn count(&mut self, counted: Counted, time_us: u64, memory: u64) {
        let Counted { counter, gpu_instance, settled, .. } = counted;
        let mut by = u64::from(counted.by);
        if let Counter::Pages(cause) = counter {
            let room = PAGES_MAX.saturating_sub(self.pages.len()) as u64;
            by = by.min(room);
            for _ in 0..by {
                let address = self.address(memory);
                self.pages.push(RetiredPage { cause, address, time_us });
            }
        }
        if by == 0 {
            return;
        }
        add(&mut self.volatile, counter, by);
        add(&mut self.lasting, counter, by);
        if let Some(id) = gpu_instance {
            add(self.of_instances.entry(id).or_default(), counter, by);
        }
        if counter.waits_for_a_reset() && !settled {
            add(&mut self.pending, counter, by);
        }
    }

    /// An address that no retired page has: it follows from how many there are.
    fn address(&self, memory: u64) -> u64 {
        let pages = (memory / PAGE).max(1);
        let taken = |address: u64| self.pages.iter().any(|page| page.address == address);
        let candidates = (0..).map(|try_| spread(try_, self.pages.len() as u64) % pages * PAGE);
        // A memory of fewer pages than are retired does not exist; the bound only ends the search.
        let mut candidates = candidates.take(2 * PAGES_MAX);
        candidates.find(|address| !taken(*address)).unwrap_or_default()
    }

    /// What a reset of the GPU, or a load of the driver, does.
    pub fn reset(&mut self) {
        self.volatile.clear();
        self.of_instances.clear();
        self.pending.clear();
    }

    /// Clears the ECC counters of a span, as `nvmlDeviceClearEccErrorCounts`.
    pub fn clear_ecc(&mut self, span: CounterSpan) {
        let keep = |counter: &Counter, _: &mut u64| !matches!(counter, Counter::Ecc(..));
        match span {
            CounterSpan::Volatile => {
                self.volatile.retain(keep);
                self.of_instances.clear();
            }
            CounterSpan::Aggregate => self.lasting.retain(keep),
        }
    }

    /// Clears one error counter of an NVLink, or of all of them.
    pub fn clear_link_error(&mut self, link: Option<u32>, error: LinkError) {
        let is_it = |counter: &Counter| match counter {
            Counter::NvLink(of, what) => *what == error && link.is_none_or(|link| link == *of),
            _ => false,
        };
        self.volatile.retain(|counter, _| !is_it(counter));
    }

    /// Clears the error counters of an NVLink.
    pub fn clear_link(&mut self, link: u32) {
        let of_link = |counter: &Counter| matches!(counter, Counter::NvLink(of, _) if *of == link);
        self.volatile.retain(|counter, _| !of_link(counter));
    }
}

fn add(counts: &mut BTreeMap<Counter, u64>, counter: Counter, by: u64) {
    let count = counts.entry(counter).or_default();
    *count = count.saturating_add(by);
}
