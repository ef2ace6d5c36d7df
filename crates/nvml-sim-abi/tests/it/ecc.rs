//! ECC: what a GPU can do, what it does, and which counters there are.

use nvml_sim::Code;

use crate::sim::{in_child, in_child_on, nvml};

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
