//! What befalls a GPU, as people write it: which keys of an entry go together, and what a GPU can suffer at all. It knows
//! words, not what becomes of a state.

use super::declared::{FaultEntry, FaultError};
use crate::damage::{Counted, Counter, ErrorKind, MemoryLocation, PAGES_MAX};
use crate::drain::PciDevice;
use crate::incidents::{Befall, Containment, Report};
use crate::modes::Modes;
use crate::node::{self, Gpu};
use crate::overrides::Overrides;
use crate::settings::{self, Target};

/// `reload: same` loads the version that is loaded.
const SAME_VERSION: &str = "same";

impl FaultEntry {
    /// What befalls a GPU, if that is what is declared.
    pub(super) fn befall(&self) -> Result<Option<Befall>, FaultError> {
        let others = self.functions().count();
        let report = self.xid.map(|xid| Report {
            xid,
            gpu_instance: self.gi,
            compute_instance: self.ci,
            keeps_action: self.no_recovery_action,
        });
        let carries_xid = self.lose.is_some() || self.nvlink_down.is_some();
        let counted = self.count.map(|counter| Counted {
            counter,
            by: self.by.unwrap_or(1),
            gpu_instance: self.gi,
            settled: self.settled,
        });
        let reload = self.reload.as_ref().map(|version| (version != SAME_VERSION).then(|| version.clone()));
        let device = if self.keep_device { PciDevice::Kept } else { PciDevice::Removed };
        let mut named = [
            self.lose.map(|how| Befall::Lose { how, report }),
            report.filter(|_| !carries_xid).map(Befall::Xid),
            counted.map(Befall::Count),
            self.memory_error.map(|how| Befall::MemoryError { how, gpu_instance: self.gi }),
            self.nvlink_down.clone().map(|links| Befall::LinksDown { links, report }),
            self.nvlink_up.clone().map(Befall::LinksUp),
            self.recover.map(Befall::Recover),
            self.set.clone().map(Befall::Set),
            self.drain.map(Befall::Drain),
            self.remove.then_some(Befall::Remove(device)),
            self.discover.then_some(Befall::Discover),
            reload.map(Befall::Reload),
            self.reboot.then_some(Befall::Reboot),
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
            let hint = "`by` and `settled` say how `count` counts; leave them out";
            return Err(FaultError::Befall("by", hint.to_owned()));
        }
        if self.by == Some(0) {
            return Err(FaultError::Befall("by", "`0` errors; write a number from 1".to_owned()));
        }
        if self.keep_device && !self.remove {
            let hint = "only `remove` can leave a PCI device; leave it out";
            return Err(FaultError::Befall("keep-device", hint.to_owned()));
        }
        if self.no_recovery_action && report.is_none() {
            let hint = "no XID is reported that could ask for one; leave it out";
            return Err(FaultError::Befall("no-recovery-action", hint.to_owned()));
        }
        Ok(befall)
    }

    fn check_instances(&self, befall: Option<&Befall>) -> Result<(), FaultError> {
        let wrong = match (self.gi, self.ci, befall) {
            (None, None, _)
            | (Some(_), _, Some(Befall::Xid(_)))
            | (Some(_), None, Some(Befall::MemoryError { .. })) => return Ok(()),
            (Some(_), None, Some(Befall::Count(counted))) if is_told_of_instances(counted.counter) => {
                return Ok(());
            }
            (Some(_), None, Some(Befall::Count(_))) => {
                "only uncorrected errors outside device memory are counted by MIG instance; leave `gi` out"
            }
            (None, Some(_), Some(Befall::Xid(_))) => "a compute instance is one of a GPU instance; add `gi`",
            _ => "only an XID and a memory error concern a MIG instance; leave `gi` and `ci` out",
        };
        Err(FaultError::Instance(wrong))
    }
}

fn is_told_of_instances(counter: Counter) -> bool {
    matches!(counter, Counter::Ecc(ErrorKind::Uncorrected, place) if place.location() != MemoryLocation::Dram)
}

impl Befall {
    /// Whether it befalls the node, and no GPU need be named.
    pub(super) fn is_of_the_node(&self) -> bool {
        matches!(self, Befall::Discover | Befall::Reload(_) | Befall::Reboot)
    }

    /// Fails where it cannot be, or cannot befall this GPU.
    pub(super) fn check(&self, gpu: Option<&Gpu>) -> Result<(), FaultError> {
        match (self, gpu) {
            (Befall::Reload(_), Some(_)) => Err(FaultError::Befall(
                "gpu",
                "the driver is loaded anew for all GPUs; leave `gpu` out".to_owned(),
            )),
            (Befall::Reboot, Some(_)) => {
                Err(FaultError::Befall("gpu", "the whole machine boots anew; leave `gpu` out".to_owned()))
            }
            (Befall::Reboot | Befall::Discover, None) => Ok(()),
            (Befall::Reload(version), None) => version.as_deref().map_or(Ok(()), |version| {
                node::check_driver_version(version)
                    .map_err(|_| FaultError::Befall("reload", format!("`{version}` is no driver version; write {SAME_VERSION}, or one such as 580.105.08")))
            }),
            (_, None) => Err(FaultError::WhichGpu),
            (_, Some(gpu)) => self.check_gpu(gpu),
        }
    }

    fn check_gpu(&self, gpu: &Gpu) -> Result<(), FaultError> {
        let (model, name) = (&gpu.model, &gpu.model.name);
        match self {
            Befall::Count(counted) => {
                check_count(counted, gpu).map_err(|hint| FaultError::Befall("count", hint))
            }
            Befall::MemoryError { .. } if !model.ecc.is_supported() => {
                Err(FaultError::Befall("memory-error", format!("{name} has no ECC")))
            }
            Befall::MemoryError { how: Containment::Contained, .. } if !model.has_row_remapping() => {
                let hint = format!("errors are contained from Ampere on; write `uncontained` of {name}");
                Err(FaultError::Befall("memory-error", hint))
            }
            Befall::LinksDown { links, .. } => check_links("nvlink-down", links, gpu),
            Befall::LinksUp(links) => check_links("nvlink-up", links, gpu),
            Befall::Set(values) => {
                let (mut readings, mut modes) = (Overrides::default(), Modes::initial());
                for (key, value) in values {
                    let target = Target { model, readings: &mut readings, modes: &mut modes };
                    settings::set(key, value, target)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn check_links(key: &'static str, links: &[u32], gpu: &Gpu) -> Result<(), FaultError> {
    let (there, name) = (gpu.links.len(), &gpu.model.name);
    let wrong = links.iter().find(|link| **link as usize >= there);
    let hint = match wrong {
        Some(link) => format!("`{link}`: {there} links of this {name} are connected, counted from 0"),
        None if there == 0 => format!("no NVLink of this {name} is connected"),
        None => return Ok(()),
    };
    Err(FaultError::Befall(key, hint))
}

fn check_count(counted: &Counted, gpu: &Gpu) -> Result<(), String> {
    let Counted { counter, by, settled, .. } = counted;
    let (model, name) = (&gpu.model, &gpu.model.name);
    let (remaps, retires) = (model.has_row_remapping(), model.has_page_retirement());
    Err(match counter {
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
    })
}
