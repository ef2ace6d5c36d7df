//! The newest questions about broken memory: rows by whether their remapping is active, memory beyond repair, errors by
//! address.

use nvml_sim::{Code, SramErrors};
use nvml_wrapper_sys::bindings::*;

use super::{exports, gpu};
use crate::structs::{nvmlRemappedRowsInfo_v2_t, nvmlUnrepairableMemoryStatus_v1_t};

exports! {
    // A remapping is inactive until the reset that it waits for (assumed).
    fn nvmlDeviceGetRemappedRows_v2(device: nvmlDevice_t, info: *mut nvmlRemappedRowsInfo_v2_t) in "13.3" => |call| {
        let rows = gpu(call, &device)?.remapped_rows()?;
        info.put(nvmlRemappedRowsInfo_v2_t {
            corrActiveRemaps: rows.correctable.saturating_sub(rows.correctable_pending),
            corrInactiveRemaps: rows.correctable_pending,
            uncActiveRemaps: rows.uncorrectable.saturating_sub(rows.uncorrectable_pending),
            uncInactiveRemaps: rows.uncorrectable_pending,
            bPending: rows.is_pending().into(),
            bFailureOccurred: rows.failed.into(),
        })
    };
    fn nvmlDeviceGetUnrepairableMemoryFlag_v1(
        device: nvmlDevice_t, status: *mut nvmlUnrepairableMemoryStatus_v1_t
    ) in "13.3" => |call| {
        let is_broken = gpu(call, &device)?.has_unrepairable_memory()?;
        status.put(nvmlUnrepairableMemoryStatus_v1_t { bUnrepairableMemory: is_broken.into() })
    };
    // Without an array: how many there are, which the caller learns also when its array is too short.
    fn nvmlDeviceGetSramUniqueUncorrectedEccErrorCounts(
        device: nvmlDevice_t, counts: *mut nvmlEccSramUniqueUncorrectedErrorCounts_t
    ) => |call| {
        let version = counts.expect_version(1)?;
        let view = gpu(call, &device)?;
        let given = counts.get()?;
        let sram = view.unique_sram_errors()?;
        let there = u32::try_from(sram.unique_errors_count()).unwrap_or(u32::MAX);
        let entries = given.entries;
        counts.put(nvmlEccSramUniqueUncorrectedErrorCounts_t { version, entryCount: there, entries })?;
        if entries.is_null() || there == 0 {
            return Ok(());
        }
        if given.entryCount < there {
            return Err(Code::INSUFFICIENT_SIZE);
        }
        let errors = sram.unique_errors().take(there as usize);
        counts.array(entries).put_all(errors.map(|error| nvmlEccSramUniqueUncorrectedErrorEntry_v1_t {
            // The number of a unit, and that there is one location in it, are assumed.
            unit: error.part as u32,
            location: 0,
            sublocation: 0,
            extlocation: 0,
            address: error.address,
            isParity: (error.found == SramErrors::Parity).into(),
            count: 1,
        }))
    };
}
