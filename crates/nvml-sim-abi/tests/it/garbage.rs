//! Answers that succeed and are nonsense: a caller's memory stays whole.

use nvml_sim::FaultEntry;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper_sys::bindings::*;

use crate::sim::{in_child, nvml, own_folder};

fn garble(function: &str, seed: u64) {
    own_folder().clear_faults(None).unwrap();
    let entry = FaultEntry { garbage: Some(function.to_owned()), seed: Some(seed), ..FaultEntry::default() };
    own_folder().declare(entry).unwrap();
}

#[test]
fn garbage_stays_within_what_the_answer_writes_and_texts_end() {
    in_child("garbage::garbage_stays_within_what_the_answer_writes_and_texts_end", "dgx-a100", || {
        let nvml = nvml();
        let lib = nvml.lib();
        let device = nvml.device_by_index(0).unwrap();
        // SAFETY: it lives as long as the library.
        let handle = unsafe { device.handle() };
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..8 {
            garble("nvmlDevice*", seed);
            // Room behind the answer, which must stay as it is.
            let mut numbers = [7_u32; 3];
            // SAFETY: the second place is valid for writes.
            let code = unsafe { lib.nvmlDeviceGetMinorNumber.as_ref().unwrap()(handle, &mut numbers[1]) };
            assert_eq!((code, numbers[0], numbers[2]), (0, 7, 7));
            seen.insert(numbers[1]);
            let mut text = [7_i8; 64];
            // SAFETY: valid for 48 bytes.
            let code = unsafe { lib.nvmlDeviceGetUUID.as_ref().unwrap()(handle, text.as_mut_ptr(), 48) };
            assert_eq!((code, text[40], &text[41..]), (0, 0, &[7_i8; 23][..]));
            assert!(text[..40].iter().all(|byte| *byte < 0), "no byte of it is ASCII: {text:?}");
            // A count gets no higher: nobody reads beyond what is there.
            let (mut count, mut infos) = (4, [7_u64; 12]);
            let function = *lib.nvmlDeviceGetComputeRunningProcesses_v3.as_ref().unwrap();
            // SAFETY: room for four.
            let code = unsafe { function(handle, &mut count, infos.as_mut_ptr().cast()) };
            assert_eq!((code, count), (0, 0));
            let (mut current, mut pending) = (9, 9);
            // SAFETY: valid for writes.
            let code =
                unsafe { lib.nvmlDeviceGetEccMode.as_ref().unwrap()(handle, &mut current, &mut pending) };
            assert!(
                code == 0 && current <= 1 && pending <= 1,
                "no more than there was: it may count something"
            );
            let mut memory =
                nvmlMemory_v2_t { version: 2 << 24 | 40, total: 0, reserved: 0, free: 0, used: 0 };
            // SAFETY: valid for writes.
            let code = unsafe { lib.nvmlDeviceGetMemoryInfo_v2.as_ref().unwrap()(handle, &mut memory) };
            assert!(code == 0 && memory.version == 2 << 24 | 40 && memory.total != 80 << 30, "{memory:?}");
        }
        assert!(seen.len() > 1, "the seed chooses: {seen:?}");
        // A client of another make survives it.
        assert!(matches!(device.name(), Err(NvmlError::Utf8Error(_))));
        assert!(nvml.device_by_index(0).and_then(|device| device.uuid()).is_err());
        own_folder().clear_faults(None).unwrap();
        assert!(device.name().is_ok());
    });
}

#[test]
fn same_seed_gives_the_same_garbage_in_each_process() {
    const NAME: &str = "garbage::same_seed_gives_the_same_garbage_in_each_process";
    in_child(NAME, "t4", || {
        let nvml = nvml();
        let device = nvml.device_by_index(0).unwrap();
        garble("nvmlDeviceGetTemperature", 7);
        let read =
            || device.temperature(nvml_wrapper::enum_wrappers::device::TemperatureSensor::Gpu).unwrap();
        // Taken down from a run.
        assert_eq!([read(), read(), read()], EXPECTED);
    });
}

/// Draws of seed 7.
const EXPECTED: [u32; 3] = [i32::MAX as u32, u32::MAX, u32::MAX];
