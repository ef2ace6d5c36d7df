//! ECC: what a GPU can do, what it does, and what its counters count.

use nvml_sim::{Code, FaultEntry};
use nvml_wrapper::Device;
use nvml_wrapper_sys::bindings::*;

use crate::sim::{in_child, in_child_on, nvml, own_folder};

/// The node file's words for a GPU -> code of the mode, mode, default mode, code of a counter.
const CASES: [(&str, [u32; 4]); 3] = [
    ("true", [0, 1, 1, 0]),
    ("false", [0, 0, 1, Code::NOT_SUPPORTED.0]),
    ("unsupported", [Code::NOT_SUPPORTED.0, 9, 9, Code::NOT_SUPPORTED.0]),
];

#[test]
fn ecc_that_is_off_is_not_ecc_that_is_missing() {
    let mut yaml = "driver: {version: 580.95.05, cuda: \"13.0\"}\nseed: ecc\ngpus:\n".to_owned();
    for (index, (words, _)) in CASES.iter().enumerate() {
        yaml += &format!("- {{model: T4, pci: \"0000:0{index}:00.0\", overrides: {{ecc: {words}}}}}\n");
    }
    in_child_on("ecc::ecc_that_is_off_is_not_ecc_that_is_missing", &yaml, || {
        let nvml = nvml();
        let lib = nvml.lib();
        for (index, (words, expected)) in CASES.iter().enumerate() {
            let gpu = nvml.device_by_index(index as u32).unwrap();
            let (mut current, mut pending, mut default, mut count) = (9, 9, 9, 0);
            // SAFETY: all of them are valid for writes.
            unsafe {
                let gpu = gpu.handle();
                let code = lib.nvmlDeviceGetEccMode.as_ref().unwrap()(gpu, &mut current, &mut pending);
                lib.nvmlDeviceGetDefaultEccMode.as_ref().unwrap()(gpu, &mut default);
                let counted = lib.nvmlDeviceGetTotalEccErrors.as_ref().unwrap()(gpu, 0, 0, &mut count);
                assert_eq!([code, current, default, counted], *expected, "{words}");
            }
            assert_eq!(current, pending);
        }
    });
}

#[test]
fn error_counters_end_with_the_last_place_of_memory() {
    in_child("ecc::error_counters_end_with_the_last_place_of_memory", "t4", || {
        let nvml = nvml();
        let device = nvml.device_by_index(0).unwrap();
        let counter = *nvml.lib().nvmlDeviceGetMemoryErrorCounter.as_ref().unwrap();
        for place in 0..10 {
            let mut count = 9;
            // SAFETY: `count` is valid for writes.
            let code = unsafe { counter(device.handle(), 0, 0, place, &mut count) };
            assert_eq!(code, if place < 8 { 0 } else { Code::INVALID_ARGUMENT.0 }, "{place}");
        }
    });
}

/// A call through the C interface on a device's handle.
macro_rules! ask {
    ($lib:expr, $device:expr, $function:ident $(, $argument:expr)*) => {
        // SAFETY: the arguments are numbers, or valid for writes.
        unsafe { $lib.$function.as_ref().unwrap()($device.handle() $(, $argument)*) }
    };
}

fn count(gpu: &str, counter: &str, by: u32) {
    let entry = FaultEntry {
        count: Some(counter.parse().unwrap()),
        by: Some(by),
        gpu: Some(gpu.to_owned()),
        ..FaultEntry::default()
    };
    own_folder().declare(entry).unwrap();
}

/// Errors of a kind, a span and a place, or of all places.
fn errors(lib: &NvmlLib, device: &Device<'_>, kind: u32, span: u32, place: Option<u32>) -> Result<u64, u32> {
    let mut count = 0;
    let code = match place {
        Some(place) => ask!(lib, device, nvmlDeviceGetMemoryErrorCounter, kind, span, place, &mut count),
        None => ask!(lib, device, nvmlDeviceGetTotalEccErrors, kind, span, &mut count),
    };
    if code == 0 { Ok(count) } else { Err(code) }
}

#[test]
fn errors_are_counted_by_place_and_a_reset_leaves_the_aggregate_ones() {
    in_child("ecc::errors_are_counted_by_place_and_a_reset_leaves_the_aggregate_ones", "dgx-h100", || {
        let nvml = nvml();
        let (lib, device) = (nvml.lib(), nvml.device_by_index(2).unwrap());
        count("2", "ecc.uncorrected.dram", 3);
        count("2", "ecc.uncorrected.sram-parity.l2", 5);
        count("2", "ecc.corrected.sram", 7);
        for span in [0, 1] {
            assert_eq!(errors(lib, &device, 1, span, Some(2)), Ok(3));
            assert_eq!(errors(lib, &device, 1, span, Some(7)), Ok(5));
            assert_eq!(errors(lib, &device, 1, span, Some(0)), Ok(0));
            assert_eq!(errors(lib, &device, 1, span, None), Ok(8));
            assert_eq!(errors(lib, &device, 0, span, None), Ok(7));
        }
        // SAFETY: plain numbers.
        let mut sram: nvmlEccSramErrorStatus_t = unsafe { std::mem::zeroed() };
        sram.version = 1 << 24 | 104;
        let code = ask!(lib, device, nvmlDeviceGetSramEccErrorStatus, &mut sram);
        if rustix::process::geteuid().is_root() {
            assert_eq!(
                (code, sram.aggregateUncParity, sram.aggregateUncBucketL2, sram.volatileCor),
                (0, 5, 5, 7)
            );
            assert_eq!(sram.bThresholdExceeded, 1, "more than four of parity");
        } else {
            assert_eq!(code, Code::NO_PERMISSION.0);
        }
        // Others have none, and another load of the driver keeps what lasts.
        assert_eq!(errors(lib, &nvml.device_by_index(3).unwrap(), 1, 1, None), Ok(0));
        own_folder().reset("2").unwrap();
        assert_eq!((errors(lib, &device, 1, 0, None), errors(lib, &device, 1, 1, None)), (Ok(0), Ok(8)));
    });
}

#[test]
fn rows_wait_for_a_reset_and_stay_remapped() {
    in_child("ecc::rows_wait_for_a_reset_and_stay_remapped", "dgx-h100", || {
        let nvml = nvml();
        let (lib, device) = (nvml.lib(), nvml.device_by_index(0).unwrap());
        let rows = || {
            let (mut corrected, mut uncorrected, mut pending, mut failed) = (9, 9, 9, 9);
            let code = ask!(
                lib,
                device,
                nvmlDeviceGetRemappedRows,
                &mut corrected,
                &mut uncorrected,
                &mut pending,
                &mut failed
            );
            (code, corrected, uncorrected, pending, failed)
        };
        assert_eq!(rows(), (0, 0, 0, 0, 0));
        count("0", "rows.uncorrectable", 1);
        assert_eq!(rows(), (0, 0, 1, 1, 0));
        let mut banks = nvmlRowRemapperHistogramValues_t { max: 0, high: 0, partial: 0, low: 0, none: 0 };
        assert_eq!(ask!(lib, device, nvmlDeviceGetRowRemapperHistogram, &mut banks), 0);
        assert_eq!((banks.max, banks.high, banks.none), (2559, 1, 0));
        own_folder().reset("0").unwrap();
        assert_eq!(rows(), (0, 0, 1, 0, 0));
        count("0", "rows.failed", 1);
        count("0", "repairs.tpc", 1);
        let mut repairs =
            nvmlRepairStatus_t { version: 1 << 24 | 12, bChannelRepairPending: 9, bTpcRepairPending: 9 };
        assert_eq!(ask!(lib, device, nvmlDeviceGetRepairStatus, &mut repairs), 0);
        assert_eq!((repairs.bChannelRepairPending, repairs.bTpcRepairPending), (0, 1));
        own_folder().reset("0").unwrap();
        assert_eq!(rows(), (0, 0, 1, 0, 1));
    });
}

#[test]
fn pages_are_retired_with_address_and_time_and_a_short_buffer_is_told_how_many() {
    in_child(
        "ecc::pages_are_retired_with_address_and_time_and_a_short_buffer_is_told_how_many",
        "t4",
        || {
            own_folder().freeze_clock().unwrap();
            let nvml = nvml();
            let (lib, device) = (nvml.lib(), nvml.device_by_index(0).unwrap());
            count("0", "pages.uncorrectable", 2);
            let list = |cause: u32, room: u32| {
                let (mut count, mut addresses, mut times) = (room, [0_u64; 4], [0_u64; 4]);
                let (places, dates) = (addresses.as_mut_ptr(), times.as_mut_ptr());
                let code = ask!(lib, device, nvmlDeviceGetRetiredPages_v2, cause, &mut count, places, dates);
                (code, count, addresses, times)
            };
            let now = own_folder().state().unwrap().clock.now_us() / 1_000_000;
            let (code, count, addresses, times) = list(1, 4);
            assert_eq!((code, count, times), (0, 2, [now, now, 0, 0]));
            assert!(addresses[0] != addresses[1] && addresses[..2].iter().all(|address| address % 4096 == 0));
            assert_eq!(list(1, 1), (Code::INSUFFICIENT_SIZE.0, 2, [0; 4], [0; 4]));
            assert_eq!(list(0, 0).0, 0);
            let pending = || {
                let mut pending = 9;
                assert_eq!(ask!(lib, device, nvmlDeviceGetRetiredPagesPendingStatus, &mut pending), 0);
                pending
            };
            assert_eq!(pending(), 1);
            own_folder().reset("0").unwrap();
            assert_eq!((pending(), list(1, 4).1), (0, 2));
        },
    );
}

#[test]
fn root_switches_ecc_until_a_reset_and_clears_one_span_of_counters() {
    in_child("ecc::root_switches_ecc_until_a_reset_and_clears_one_span_of_counters", "dgx-h100", || {
        let nvml = nvml();
        let (lib, device) = (nvml.lib(), nvml.device_by_index(0).unwrap());
        let mode = || {
            let (mut current, mut pending) = (9, 9);
            assert_eq!(ask!(lib, device, nvmlDeviceGetEccMode, &mut current, &mut pending), 0);
            (current, pending)
        };
        count("0", "ecc.corrected.dram", 4);
        if !rustix::process::geteuid().is_root() {
            assert_eq!(ask!(lib, device, nvmlDeviceSetEccMode, 0), Code::NO_PERMISSION.0);
            assert_eq!(ask!(lib, device, nvmlDeviceClearEccErrorCounts, 0), Code::NO_PERMISSION.0);
            return;
        }
        assert_eq!(ask!(lib, device, nvmlDeviceClearEccErrorCounts, 0), 0);
        assert_eq!((errors(lib, &device, 0, 0, None), errors(lib, &device, 0, 1, None)), (Ok(0), Ok(4)));
        assert_eq!(ask!(lib, device, nvmlDeviceSetEccMode, 0), 0);
        assert_eq!(mode(), (1, 0));
        own_folder().reset("0").unwrap();
        assert_eq!(mode(), (0, 0));
        assert_eq!(errors(lib, &device, 0, 1, None), Err(Code::NOT_SUPPORTED.0));
        assert_eq!(ask!(lib, device, nvmlDeviceClearEccErrorCounts, 1), Code::NOT_SUPPORTED.0);
    });
}

#[test]
fn errors_of_links_and_of_pcie_are_counted_since_the_driver_was_loaded() {
    in_child("ecc::errors_of_links_and_of_pcie_are_counted_since_the_driver_was_loaded", "dgx-a100", || {
        let nvml = nvml();
        let (lib, device) = (nvml.lib(), nvml.device_by_index(1).unwrap());
        let seen = || {
            let (mut replays, mut flits) = (9, [9_u64; 2]);
            assert_eq!(ask!(lib, device, nvmlDeviceGetPcieReplayCounter, &mut replays), 0);
            for (link, flits) in flits.iter_mut().enumerate() {
                assert_eq!(ask!(lib, device, nvmlDeviceGetNvLinkErrorCounter, link as u32, 2, flits), 0);
            }
            (replays, flits)
        };
        count("1", "pcie.replays", 3);
        count("1", "nvlink.1.crc-flit", 100);
        assert_eq!(seen(), (3, [0, 100]));
        if rustix::process::geteuid().is_root() {
            assert_eq!(ask!(lib, device, nvmlDeviceResetNvLinkErrorCounters, 1), 0);
            assert_eq!(seen(), (3, [0, 0]));
        }
        own_folder().reset("1").unwrap();
        assert_eq!(seen(), (0, [0, 0]));
    });
}

#[test]
fn newest_questions_tell_active_rows_broken_memory_and_errors_by_address() {
    in_child(
        "ecc::newest_questions_tell_active_rows_broken_memory_and_errors_by_address",
        "gb200-nvl72",
        || {
            let nvml = nvml();
            let (lib, device) = (nvml.lib(), nvml.device_by_index(0).unwrap());
            let numbers = |name: &[u8]| {
                type Ask = unsafe extern "C" fn(nvmlDevice_t, *mut [u32; 6]) -> nvmlReturn_t;
                let mut numbers = [9; 6];
                // SAFETY: the functions take a pointer to at most six numbers.
                unsafe {
                    let ask = *lib.__library.get::<Ask>(name).unwrap();
                    assert_eq!(ask(device.handle(), std::ptr::null_mut()), Code::INVALID_ARGUMENT.0);
                    assert_eq!(ask(device.handle(), &mut numbers), 0);
                }
                numbers
            };
            let rows = || numbers(b"nvmlDeviceGetRemappedRows_v2\0");
            let is_broken = || numbers(b"nvmlDeviceGetUnrepairableMemoryFlag_v1\0")[0];
            count("0", "rows.correctable", 2);
            assert_eq!((rows(), is_broken()), ([0, 2, 0, 0, 1, 0], 0));
            own_folder().reset("0").unwrap();
            count("0", "rows.uncorrectable", 1);
            count("0", "rows.failed", 1);
            assert_eq!((rows(), is_broken()), ([2, 0, 0, 1, 1, 1], 1));

            count("0", "ecc.uncorrected.sram-parity.l2", 2);
            count("0", "ecc.uncorrected.sram.sm", 1);
            // SAFETY: plain numbers.
            let mut places: [nvmlEccSramUniqueUncorrectedErrorEntry_v1_t; 4] = unsafe { std::mem::zeroed() };
            let unique = |version, room, entries| {
                let mut counts =
                    nvmlEccSramUniqueUncorrectedErrorCounts_t { version, entryCount: room, entries };
                (
                    ask!(lib, device, nvmlDeviceGetSramUniqueUncorrectedEccErrorCounts, &mut counts),
                    counts.entryCount,
                )
            };
            let (version, entries) = (1 << 24 | 16, places.as_mut_ptr());
            assert_eq!(unique(version + 1, 4, entries).0, Code::ARGUMENT_VERSION_MISMATCH.0);
            assert_eq!(unique(version, 0, std::ptr::null_mut()), (0, 3));
            assert_eq!(unique(version, 2, entries), (Code::INSUFFICIENT_SIZE.0, 3));
            assert_eq!(unique(version, 4, entries), (0, 3));
            let seen = places.map(|it| (it.unit, it.isParity, it.address, it.count));
            assert_eq!(seen, [(2, 0, 0, 1), (1, 1, 0, 1), (1, 1, 4, 1), (0, 0, 0, 0)]);
        },
    );
}
