//! What befalls a GPU, as people write it: which keys of an entry go together, and what a GPU can suffer at all. It knows
//! words, not what becomes of a state.

use super::declared::{FaultEntry, FaultError};
use crate::damage::{Counted, Counter, ErrorKind, MemoryLocation, PAGES_MAX};
use crate::incidents::Befall;
use crate::node::Gpu;

impl FaultEntry {
    /// What befalls a GPU, if that is what is declared.
    pub(super) fn befall(&self) -> Result<Option<Befall>, FaultError> {
        let others = [&self.hang, &self.crash, &self.r#return].into_iter().flatten().count();
        let (gpu_instance, compute_instance) = (self.gi, self.ci);
        let counted = self.count.map(|counter| Counted {
            counter,
            by: self.by.unwrap_or(1),
            gpu_instance,
            settled: self.settled,
        });
        let reported = self.xid.map(|xid| Befall::Xid { xid, gpu_instance, compute_instance });
        let mut named = [
            self.lose.map(|how| Befall::Lose { how, xid: self.xid }),
            reported.filter(|_| self.lose.is_none()),
            counted.map(Befall::Count),
        ]
        .into_iter()
        .flatten();
        let (befall, more) = (named.next(), named.count());
        if befall.is_some() && others + more > 0 {
            return Err(FaultError::Effects { count: others + more + 1 });
        }
        self.check_instances(befall.as_ref())?;
        let is_counted = matches!(befall, Some(Befall::Count(_)));
        if !is_counted && (self.by.is_some() || self.settled) {
            return Err(FaultError::Count(
                "`by` and `settled` say how `count` counts; leave them out".to_owned(),
            ));
        }
        if self.by == Some(0) {
            return Err(FaultError::Count("`0` errors; write a number from 1".to_owned()));
        }
        Ok(befall)
    }

    fn check_instances(&self, befall: Option<&Befall>) -> Result<(), FaultError> {
        let wrong = match (self.gi, self.ci, befall) {
            (None, None, _) | (Some(_), _, Some(Befall::Xid { .. })) => return Ok(()),
            (Some(_), None, Some(Befall::Count(counted))) if is_told_of_instances(counted.counter) => {
                return Ok(());
            }
            (Some(_), None, Some(Befall::Count(_))) => {
                "only uncorrected errors outside device memory are counted by MIG instance; leave `gi` out"
            }
            (None, Some(_), Some(Befall::Xid { .. })) => {
                "a compute instance is one of a GPU instance; add `gi`"
            }
            _ => "only an XID concerns a MIG instance; leave `gi` and `ci` out",
        };
        Err(FaultError::Instance(wrong))
    }
}

fn is_told_of_instances(counter: Counter) -> bool {
    matches!(counter, Counter::Ecc(ErrorKind::Uncorrected, place) if place.location() != MemoryLocation::Dram)
}

impl Befall {
    /// Fails where it cannot befall this GPU.
    pub(super) fn check(&self, gpu: &Gpu) -> Result<(), FaultError> {
        let Befall::Count(Counted { counter, by, settled, .. }) = self else { return Ok(()) };
        let (model, name) = (&gpu.model, &gpu.model.name);
        let (remaps, retires) = (model.has_row_remapping(), model.has_page_retirement());
        let wrong = match counter {
            _ if *settled && !counter.waits_for_a_reset() => {
                format!("`{counter}` waits for no reset; leave `settled` out")
            }
            Counter::Ecc(..) | Counter::Pages(_) if !model.ecc.is_supported() => {
                format!("`{counter}`: {name} has no ECC")
            }
            Counter::Repairs(_) if !remaps => {
                format!("`{counter}`: parts are repaired where rows are remapped; {name} remaps none")
            }
            Counter::Rows(_) | Counter::FailedRows if !remaps => {
                let instead = if retires { "retires pages (pages.uncorrectable)" } else { "remaps none" };
                format!("`{counter}`: rows are remapped from Ampere on; {name} {instead}")
            }
            Counter::Pages(_) if !retires => {
                let instead = if remaps { "remaps rows (rows.uncorrectable)" } else { "retires none" };
                format!("`{counter}`: pages are retired up to Turing; {name} {instead}")
            }
            Counter::Pages(_) if *by as usize > PAGES_MAX => {
                format!("`{by}` pages; a GPU retires {PAGES_MAX} at most")
            }
            Counter::NvLink(link, _) if *link >= model.nvlinks => {
                format!("`{counter}`: {name} has {} NVLinks, counted from 0", model.nvlinks)
            }
            _ => return Ok(()),
        };
        Err(FaultError::Count(wrong))
    }
}
