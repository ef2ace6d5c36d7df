//! The XID table: what each of NVIDIA's error numbers means for placing work on a GPU.
//!
//! Data and one lookup. It knows nothing of where XIDs come from, nor what is done with the answer.
//!
//! Classes follow the recovery action that NVIDIA's XID catalogue gives to each number. An error of the
//! application says nothing about the GPU, so it never takes a GPU away; only what needs a reset or more
//! does.

use std::ops::RangeInclusive;

/// What an XID says about the GPU that raised it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XidClass {
    /// The application's fault, or a follow-on of another XID: the GPU is fine.
    Application,
    /// The driver or the hardware tells something worth knowing; work may go on.
    Notice,
    /// The driver's recovery action decides, so the GPU is asked at once; the number alone does not condemn.
    AskDriver,
    /// The GPU needs a reset, a reboot or a repair before it can be trusted.
    Critical,
}

/// One row of the table.
#[derive(Debug)]
pub struct XidRow {
    /// The numbers that the row covers.
    pub xids: RangeInclusive<u64>,
    /// What they say about the GPU.
    pub class: XidClass,
    /// Their meaning, for the log.
    pub meaning: &'static str,
}

const fn row(first: u64, last: u64, class: XidClass, meaning: &'static str) -> XidRow {
    XidRow { xids: first..=last, class, meaning }
}

use XidClass::{Application, AskDriver, Critical, Notice};

/// Source: NVIDIA's XID catalogue (recovery actions), ascending and without overlap.
#[rustfmt::skip]
const TABLE: &[XidRow] = &[
    row(8, 8, Application, "push buffer stalled"),
    row(11, 11, Application, "push buffer corrupt"),
    row(13, 13, Application, "graphics engine exception"),
    row(25, 25, Application, "push buffer settings invalid"),
    row(31, 31, Application, "GPU memory page fault"),
    row(32, 32, Application, "push buffer stream corrupt"),
    row(37, 38, Notice, "driver firmware notice"),
    row(39, 41, Application, "copy engine exception"),
    row(43, 43, Application, "channel reset"),
    row(44, 44, Notice, "driver firmware notice"),
    row(45, 45, Application, "pre-emptive cleanup after another error"),
    row(46, 46, Critical, "GPU stopped processing"),
    row(48, 48, Critical, "double-bit ECC error"),
    row(54, 54, Critical, "auxiliary power is not connected"),
    row(60, 60, Application, "video processor exception"),
    row(61, 61, Critical, "internal micro-controller breakpoint"),
    row(62, 62, Critical, "internal micro-controller halt"),
    row(63, 63, Notice, "row remap recorded"),
    row(64, 64, Critical, "row remap could not be recorded"),
    row(66, 67, Notice, "driver firmware notice"),
    row(68, 69, Application, "engine exception"),
    row(70, 72, Application, "copy engine exception"),
    row(74, 74, AskDriver, "NVLink error"),
    row(75, 77, Application, "copy engine exception"),
    row(78, 78, Notice, "vGPU could not start"),
    row(79, 79, Critical, "GPU has fallen off the bus"),
    row(80, 80, Application, "push buffer data corrupt"),
    row(82, 84, Application, "video engine exception"),
    row(85, 85, Application, "copy engine exception"),
    row(86, 86, Application, "video engine exception"),
    row(88, 89, Application, "video engine exception"),
    row(92, 92, Notice, "many single-bit ECC errors"),
    row(93, 93, Notice, "InfoROM wear"),
    row(94, 94, Application, "contained memory error"),
    row(95, 95, Critical, "uncontained memory error"),
    row(96, 105, Application, "video engine exception"),
    row(109, 109, AskDriver, "context switch timeout"),
    row(110, 110, Critical, "security fault"),
    row(119, 119, Critical, "GSP call timeout"),
    row(120, 120, Critical, "GSP error"),
    row(121, 121, Notice, "C2C link error"),
    row(126, 135, Application, "copy engine exception"),
    row(136, 136, Critical, "link training failed"),
    row(137, 137, Application, "NVLink privilege error"),
    row(139, 139, Application, "optical flow engine exception"),
    row(140, 140, Critical, "unrecovered ECC error"),
    row(141, 141, Application, "engine exception"),
    row(143, 143, Critical, "GPU could not be initialised"),
    row(144, 150, AskDriver, "NVLink unit error"),
    row(151, 151, Critical, "key rotation failed"),
    row(152, 153, Notice, "DLA error"),
    row(154, 154, AskDriver, "recovery action changed"),
    row(155, 155, Critical, "NVLink software error"),
    row(156, 156, Critical, "resource retirement"),
    row(157, 157, Notice, "resource retirement failed"),
    row(158, 158, Critical, "GPU fatal timeout"),
    row(160, 161, Notice, "resource retirement event"),
    row(167, 167, Critical, "PCIe fatal timeout"),
    row(168, 168, AskDriver, "write-protected region memory loss"),
    row(169, 169, Critical, "security processor halt"),
    row(170, 170, AskDriver, "memory error detail"),
    row(171, 172, Critical, "uncorrectable memory error detail"),
];

/// The row of `xid`, or none for a number that the table does not know.
pub fn row_of(xid: u64) -> Option<&'static XidRow> {
    let at = TABLE.partition_point(|row| *row.xids.end() < xid);
    TABLE.get(at).filter(|row| row.xids.contains(&xid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_ascending_and_without_overlap() {
        for pair in TABLE.windows(2) {
            assert!(pair[0].xids.end() < pair[1].xids.start(), "{:?} {:?}", pair[0], pair[1]);
        }
        assert!(TABLE.iter().all(|row| !row.xids.is_empty() && !row.meaning.is_empty()));
    }

    #[test]
    fn xids_of_the_application_never_condemn_a_gpu() {
        for xid in [8, 13, 31, 43, 45, 68, 69, 94, 137] {
            assert_eq!(row_of(xid).unwrap().class, Application, "{xid}");
        }
    }

    #[test]
    fn xids_that_need_a_reset_or_more_are_critical() {
        for xid in [46, 48, 62, 64, 79, 95, 110, 119, 120, 136, 140, 143, 155, 156, 158] {
            assert_eq!(row_of(xid).unwrap().class, Critical, "{xid}");
        }
    }

    #[test]
    fn xid_outside_the_table_has_no_row() {
        for xid in [0, 7, 12, 90, 159, 173, u64::MAX] {
            assert!(row_of(xid).is_none(), "{xid}");
        }
    }
}
