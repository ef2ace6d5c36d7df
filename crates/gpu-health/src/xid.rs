//! The XID table: what each of NVIDIA's error numbers means for placing work on a GPU.
//!
//! Data and one lookup. It knows nothing of where XIDs come from, nor what is done with the answer.
//!
//! Classes follow the recovery action that NVIDIA's XID catalogue gives to each number. An error of the
//! application says nothing about the GPU, so it never takes a GPU away; only what needs a reset or more does.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What an XID says about the GPU that raised it; what follows from each, `docs/health.md` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum XidClass {
    /// The application's fault, or a follow-on of another XID: the GPU is fine.
    Application,
    /// The driver or the hardware tells something worth knowing; the GPU is fine.
    Notice,
    /// Something is wrong with the GPU, and work may go on: Degraded for a while.
    Degraded,
    /// The driver's recovery action decides; the number alone makes the GPU Degraded for a while.
    AskDriver,
    /// The driver's recovery action decides; where the driver has none, the GPU is Unhealthy.
    AskDriverFirst,
    /// The GPU needs a reset, a reboot or a repair before it can be trusted.
    Critical,
}

/// What an XID concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XidScope {
    /// The whole GPU with all its instances, whatever instance the event names.
    Gpu,
    /// The GPU instance that the event names; the whole GPU where it names none.
    Instance,
}

/// What shows that a GPU is well again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// That it answers.
    Answers,
    /// That the driver asks for no recovery; a reset, where the driver does not tell.
    DriverContent,
    /// That it was reset.
    Reset,
    /// That the node was booted anew.
    Boot,
}

/// One row of the table.
#[derive(Debug)]
pub struct XidRow {
    /// The numbers that the row covers.
    pub xids: RangeInclusive<u64>,
    /// What they say about the GPU.
    pub class: XidClass,
    /// What they concern.
    pub scope: XidScope,
    /// What ends it, where it makes the GPU Unhealthy.
    pub proof: Proof,
    /// Their meaning, for the log.
    pub meaning: &'static str,
    /// What a person can do.
    pub todo: &'static str,
}

const RESTART: &str = "restart the application";
const NOTHING: &str = "nothing";
const RESET: &str = "drain and reset the GPU";
const REBOOT: &str = "drain and reboot the node";
const ASK: &str = "do what the driver's recovery action says";
const WATCH: &str = "watch for more of them";

const fn app(first: u64, last: u64, meaning: &'static str) -> XidRow {
    let (class, scope, proof) = (XidClass::Application, XidScope::Instance, Proof::DriverContent);
    XidRow { xids: first..=last, class, scope, proof, meaning, todo: RESTART }
}

const fn notice(first: u64, last: u64, meaning: &'static str) -> XidRow {
    let (class, scope, proof) = (XidClass::Notice, XidScope::Instance, Proof::DriverContent);
    XidRow { xids: first..=last, class, scope, proof, meaning, todo: NOTHING }
}

const fn degraded(first: u64, last: u64, meaning: &'static str, todo: &'static str) -> XidRow {
    let (class, scope, proof) = (XidClass::Degraded, XidScope::Gpu, Proof::DriverContent);
    XidRow { xids: first..=last, class, scope, proof, meaning, todo }
}

const fn ask(first: u64, last: u64, scope: XidScope, meaning: &'static str) -> XidRow {
    let (class, proof) = (XidClass::AskDriver, Proof::DriverContent);
    XidRow { xids: first..=last, class, scope, proof, meaning, todo: ASK }
}

const fn ask_first(first: u64, last: u64, meaning: &'static str) -> XidRow {
    let (class, scope, proof) = (XidClass::AskDriverFirst, XidScope::Gpu, Proof::DriverContent);
    XidRow { xids: first..=last, class, scope, proof, meaning, todo: RESET }
}

const fn critical(xid: u64, proof: Proof, meaning: &'static str, todo: &'static str) -> XidRow {
    XidRow { xids: xid..=xid, class: XidClass::Critical, scope: XidScope::Gpu, proof, meaning, todo }
}

/// Source: NVIDIA's XID catalogue (recovery actions), ascending and without overlap. The catalogue decides by a sub-code
/// for 144 to 150, which NVML does not tell: there the row stands for most of its sub-codes.
#[rustfmt::skip]
const TABLE: &[XidRow] = &[
    app(8, 8, "push buffer stalled"),
    app(11, 11, "push buffer corrupt"),
    app(13, 13, "graphics engine exception"),
    app(25, 25, "push buffer settings invalid"),
    app(31, 31, "GPU memory page fault"),
    app(32, 32, "push buffer stream corrupt"),
    notice(37, 38, "driver firmware notice"),
    app(39, 41, "copy engine exception"),
    app(43, 43, "channel reset"),
    notice(44, 44, "driver firmware notice"),
    app(45, 45, "pre-emptive cleanup after another error"),
    critical(46, Proof::Reset, "GPU stopped processing", RESET),
    XidRow { scope: XidScope::Instance, ..critical(48, Proof::DriverContent, "double-bit ECC error", ASK) },
    critical(54, Proof::Boot, "auxiliary power is not connected", "check the power cables, then power-cycle the node"),
    app(60, 60, "video processor exception"),
    critical(61, Proof::Reset, "internal micro-controller breakpoint", RESET),
    critical(62, Proof::Reset, "internal micro-controller halt", RESET),
    degraded(63, 63, "row remap recorded", "reset the GPU when it is idle"),
    critical(64, Proof::Reset, "row remap could not be recorded", RESET),
    notice(66, 67, "driver firmware notice"),
    app(68, 69, "engine exception"),
    app(70, 72, "copy engine exception"),
    ask(74, 74, XidScope::Gpu, "NVLink error"),
    app(75, 77, "copy engine exception"),
    notice(78, 78, "vGPU could not start"),
    critical(79, Proof::Reset, "GPU has fallen off the bus", REBOOT),
    app(80, 80, "push buffer data corrupt"),
    app(82, 84, "video engine exception"),
    app(85, 85, "copy engine exception"),
    app(86, 86, "video engine exception"),
    app(88, 89, "video engine exception"),
    degraded(92, 92, "many single-bit ECC errors", WATCH),
    notice(93, 93, "InfoROM wear"),
    app(94, 94, "contained memory error"),
    critical(95, Proof::Reset, "uncontained memory error", RESET),
    app(96, 105, "video engine exception"),
    ask(109, 109, XidScope::Instance, "context switch timeout"),
    critical(110, Proof::Reset, "security fault", RESET),
    critical(119, Proof::Reset, "GSP call timeout", RESET),
    critical(120, Proof::Reset, "GSP error", RESET),
    notice(121, 121, "C2C link error"),
    app(126, 135, "copy engine exception"),
    critical(136, Proof::Reset, "link training failed", RESET),
    app(137, 137, "NVLink privilege error"),
    app(139, 139, "optical flow engine exception"),
    critical(140, Proof::Reset, "unrecovered ECC error", RESET),
    app(141, 141, "engine exception"),
    critical(143, Proof::Reset, "GPU could not be initialised", RESET),
    ask(144, 146, XidScope::Gpu, "NVLink unit error"),
    notice(147, 148, "NVLink unit notice"),
    ask(149, 149, XidScope::Gpu, "NVLink network error"),
    ask_first(150, 150, "NVLink unit needs a reset"),
    critical(151, Proof::Boot, "key rotation failed", "restart the virtual machine"),
    notice(152, 153, "DLA error"),
    notice(154, 154, "recovery action changed"),
    critical(155, Proof::Reset, "NVLink software error", RESET),
    critical(156, Proof::Reset, "resource retirement", RESET),
    degraded(157, 157, "resource retirement failed", WATCH),
    critical(158, Proof::Reset, "GPU fatal timeout", RESET),
    degraded(160, 161, "resource retirement event", WATCH),
    critical(167, Proof::Reset, "PCIe fatal timeout", REBOOT),
    ask(168, 168, XidScope::Gpu, "write-protected region memory loss"),
    ask_first(169, 169, "security processor halt"),
    ask(170, 170, XidScope::Gpu, "memory error detail"),
    ask_first(171, 172, "uncorrectable memory error detail"),
];

/// The row of `xid`, or none for a number that the table does not know.
pub fn row_of(xid: u64) -> Option<&'static XidRow> {
    let at = TABLE.partition_point(|row| *row.xids.end() < xid);
    TABLE.get(at).filter(|row| row.xids.contains(&xid))
}

/// Every class with its name.
const CLASSES: [(XidClass, &str); 6] = [
    (XidClass::Application, "application"),
    (XidClass::Notice, "notice"),
    (XidClass::Degraded, "degraded"),
    (XidClass::AskDriver, "ask-driver"),
    (XidClass::AskDriverFirst, "ask-driver-first"),
    (XidClass::Critical, "critical"),
];

impl XidClass {
    /// Its name, as in settings and metrics.
    pub fn name(self) -> &'static str {
        CLASSES.iter().find(|(class, _)| *class == self).map_or("", |(_, name)| name)
    }
}

impl fmt::Display for XidClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no class.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{given:?} is no class of XIDs: expected application, notice, degraded, ask-driver, ask-driver-first or critical"
)]
pub struct ParseXidClassError {
    given: String,
}

impl FromStr for XidClass {
    type Err = ParseXidClassError;

    fn from_str(given: &str) -> Result<XidClass, ParseXidClassError> {
        let found = CLASSES.iter().find(|(_, name)| *name == given);
        found.map(|(class, _)| *class).ok_or_else(|| ParseXidClassError { given: given.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_ascending_and_without_overlap() {
        for pair in TABLE.windows(2) {
            assert!(pair[0].xids.end() < pair[1].xids.start(), "{:?} {:?}", pair[0], pair[1]);
        }
        assert!(
            TABLE.iter().all(|row| !row.xids.is_empty() && !row.meaning.is_empty() && !row.todo.is_empty())
        );
    }

    #[test]
    fn xids_of_the_application_never_condemn_a_gpu() {
        for xid in [8, 13, 31, 43, 45, 68, 69, 94, 137] {
            assert_eq!(row_of(xid).unwrap().class, XidClass::Application, "{xid}");
        }
    }

    #[test]
    fn xids_that_need_a_reset_or_more_are_critical() {
        for xid in [46, 48, 62, 64, 79, 95, 110, 119, 120, 136, 140, 143, 155, 156, 158] {
            assert_eq!(row_of(xid).unwrap().class, XidClass::Critical, "{xid}");
        }
    }

    #[test]
    fn xid_outside_the_table_has_no_row() {
        for xid in [0, 7, 12, 90, 159, 173, u64::MAX] {
            assert!(row_of(xid).is_none(), "{xid}");
        }
    }

    #[test]
    fn class_parses_from_the_name_that_it_prints() {
        for (class, _) in CLASSES {
            assert_eq!(class.to_string().parse(), Ok(class));
        }
        let error = "fatal".parse::<XidClass>().unwrap_err().to_string();
        assert!(error.contains("\"fatal\"") && error.contains("critical"), "{error}");
    }
}
