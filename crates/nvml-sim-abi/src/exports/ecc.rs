//! ECC, retired pages and remapped rows.

use nvml_sim::{
    Cause, Code, CounterSpan, ErrorKind, MemoryLocation, Repair, RetiredPage, SramErrors, SramPart,
};
use nvml_wrapper_sys::bindings::*;

use super::{device as device_of, exports, gpu};
use crate::from_c::Out;

/// The retired pages of a cause, as the caller's arrays take them: `count` holds how many places those have.
fn retired_pages(
    pages: &[RetiredPage],
    count: &Out<u32>,
    addresses: &Out<u64>,
    times: Option<&Out<u64>>,
) -> Result<(), Code> {
    let room = count.get()? as usize;
    count.put(u32::try_from(pages.len()).unwrap_or(u32::MAX))?;
    if pages.is_empty() {
        return Ok(());
    }
    if room < pages.len() {
        return Err(Code::INSUFFICIENT_SIZE);
    }
    addresses.put_all(pages.iter().map(|page| page.address))?;
    // Seconds since 1970 (assumed): NVML's header does not say.
    times.map_or(Ok(()), |times| times.put_all(pages.iter().map(|page| page.time_us / 1_000_000)))
}

exports! {
    fn nvmlDeviceGetEccMode(device: nvmlDevice_t, current: *mut u32, pending: *mut u32) => |call| {
        let mode = gpu(call, &device)?.ecc_mode()?;
        pending.present()?;
        current.put(mode.current.into())?;
        pending.put(mode.pending.into())
    };
    fn nvmlDeviceGetDefaultEccMode(device: nvmlDevice_t, default: *mut u32) => |call| {
        let view = gpu(call, &device)?;
        view.ecc_mode()?;
        default.put(view.gpu.model.ecc_default.into())
    };
    fn nvmlDeviceSetEccMode(device: nvmlDevice_t, mode: u32) => |call| {
        let view = gpu(call, &device)?;
        view.ecc_mode()?;
        if mode > 1 { Err(Code::INVALID_ARGUMENT) } else { call.library.set_ecc_mode(view, mode == 1) }
    };
    fn nvmlDeviceClearEccErrorCounts(device: nvmlDevice_t, counter: u32) => |call| {
        let view = gpu(call, &device)?;
        let span = CounterSpan::from_number(counter)?;
        if !view.ecc_mode()?.current {
            return Err(Code::NOT_SUPPORTED);
        }
        call.library.clear_ecc_errors(view, span)
    };
    fn nvmlDeviceGetTotalEccErrors(device: nvmlDevice_t, kind: u32, counter: u32, count: *mut u64) => |call| {
        let view = gpu(call, &device)?;
        let (kind, span) = (ErrorKind::from_number(kind), CounterSpan::from_number(counter));
        view.ecc_errors(ErrorKind::Corrected, CounterSpan::Aggregate, None)?;
        count.put(view.ecc_errors(kind?, span?, None)?)
    };
    fn nvmlDeviceGetDetailedEccErrors(
        device: nvmlDevice_t, kind: u32, counter: u32, counts: *mut nvmlEccErrorCounts_t
    ) => |call| {
        let view = gpu(call, &device)?;
        let (kind, span) = (ErrorKind::from_number(kind)?, CounterSpan::from_number(counter)?);
        let at = |location| view.ecc_errors(kind, span, Some(location));
        counts.put(nvmlEccErrorCounts_t {
            l1Cache: at(MemoryLocation::L1)?,
            l2Cache: at(MemoryLocation::L2)?,
            deviceMemory: at(MemoryLocation::Dram)?,
            registerFile: at(MemoryLocation::RegisterFile)?,
        })
    };
    fn nvmlDeviceGetMemoryErrorCounter(
        device: nvmlDevice_t, kind: u32, counter: u32, place: u32, count: *mut u64
    ) => |call| {
        let view = device_of(call, &device)?;
        let (kind, span) = (ErrorKind::from_number(kind)?, CounterSpan::from_number(counter)?);
        count.put(view.ecc_errors(kind, span, MemoryLocation::from_number(place)?)?)
    };
    fn nvmlDeviceGetSramEccErrorStatus(device: nvmlDevice_t, status: *mut nvmlEccSramErrorStatus_t) => |call| {
        let version = status.expect_version(1)?;
        call.needs_root()?;
        let sram = gpu(call, &device)?.sram_status()?;
        let (ever, now) = (CounterSpan::Aggregate, CounterSpan::Volatile);
        status.put(nvmlEccSramErrorStatus_t {
            version,
            aggregateUncParity: sram.uncorrected(ever, SramErrors::Parity),
            aggregateUncSecDed: sram.uncorrected(ever, SramErrors::SecDed),
            aggregateCor: sram.corrected(ever),
            volatileUncParity: sram.uncorrected(now, SramErrors::Parity),
            volatileUncSecDed: sram.uncorrected(now, SramErrors::SecDed),
            volatileCor: sram.corrected(now),
            aggregateUncBucketL2: sram.uncorrected_in(SramPart::L2),
            aggregateUncBucketSm: sram.uncorrected_in(SramPart::Sm),
            aggregateUncBucketPcie: sram.uncorrected_in(SramPart::Pcie),
            aggregateUncBucketMcu: sram.uncorrected_in(SramPart::Mcu),
            aggregateUncBucketOther: sram.uncorrected_in(SramPart::Other),
            bThresholdExceeded: sram.is_threshold_exceeded().into(),
        })
    };
    fn nvmlDeviceGetRetiredPages(
        device: nvmlDevice_t, cause: u32, count: *mut u32, addresses: *mut u64
    ) => |call| {
        let view = gpu(call, &device)?;
        retired_pages(&view.retired_pages(Cause::from_number(cause)?)?, &count, &addresses, None)
    };
    fn nvmlDeviceGetRetiredPages_v2(
        device: nvmlDevice_t, cause: u32, count: *mut u32, addresses: *mut u64, times: *mut u64
    ) => |call| {
        let view = gpu(call, &device)?;
        retired_pages(&view.retired_pages(Cause::from_number(cause)?)?, &count, &addresses, Some(&times))
    };
    fn nvmlDeviceGetRetiredPagesPendingStatus(device: nvmlDevice_t, pending: *mut u32) => |call| {
        pending.put(gpu(call, &device)?.has_pages_pending()?.into())
    };
    fn nvmlDeviceGetRemappedRows(
        device: nvmlDevice_t, corrected: *mut u32, uncorrected: *mut u32, pending: *mut u32, failed: *mut u32
    ) => |call| {
        let rows = gpu(call, &device)?.remapped_rows()?;
        for out in [&corrected, &uncorrected, &pending, &failed] {
            out.present()?;
        }
        corrected.put(rows.correctable)?;
        uncorrected.put(rows.uncorrectable)?;
        pending.put(rows.is_pending().into())?;
        failed.put(rows.failed.into())
    };
    fn nvmlDeviceGetRepairStatus(device: nvmlDevice_t, status: *mut nvmlRepairStatus_t) => |call| {
        let version = status.expect_version(1)?;
        let view = gpu(call, &device)?;
        status.put(nvmlRepairStatus_t {
            version,
            bChannelRepairPending: view.is_repair_pending(Repair::Channel)?.into(),
            bTpcRepairPending: view.is_repair_pending(Repair::Tpc)?.into(),
        })
    };
    fn nvmlDeviceGetRowRemapperHistogram(
        device: nvmlDevice_t, values: *mut nvmlRowRemapperHistogramValues_t
    ) => |call| {
        let histogram = gpu(call, &device)?.row_histogram()?;
        values.put(nvmlRowRemapperHistogramValues_t {
            max: histogram.max,
            high: histogram.high,
            partial: histogram.partial,
            low: histogram.low,
            none: histogram.none,
        })
    };
}
