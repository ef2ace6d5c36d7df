//! Field values: numbers by driver, scopes, types, and what can be cleared.

use nvml_sim::{Code, FaultEntry};
use nvml_wrapper_sys::bindings::*;

use crate::sim::{in_child, in_child_on, nvml, own_folder};

/// Type and value, or the code, of a field of GPU 0.
fn read(number: u32, scope: u32) -> Result<(u32, u64), Code> {
    ask(false, number, scope).map(|value| {
        // SAFETY: the library sets the whole union.
        (value.valueType, unsafe { value.value.ullVal })
    })
}

fn clear(number: u32, scope: u32) -> Result<(), Code> {
    ask(true, number, scope).map(|_| ())
}

fn ask(clear: bool, number: u32, scope: u32) -> Result<nvmlFieldValue_t, Code> {
    let nvml = nvml();
    let lib = nvml.lib();
    let function = if clear { &lib.nvmlDeviceClearFieldValues } else { &lib.nvmlDeviceGetFieldValues };
    // SAFETY: a C struct of numbers and a union of them, which is valid for what the function reads and writes.
    unsafe {
        let mut value: nvmlFieldValue_t = std::mem::zeroed();
        (value.fieldId, value.scopeId) = (number, scope);
        let code = function.as_ref().unwrap()(nvml.device_by_index(0).unwrap().handle(), 1, &mut value);
        assert_eq!(code, 0);
        if value.nvmlReturn == 0 { Ok(value) } else { Err(Code(value.nvmlReturn)) }
    }
}

fn one_gpu(driver: &str, model: &str) -> String {
    format!(
        "driver: {{version: {driver}, cuda: \"12.4\"}}\nseed: one\n\
         gpus: [{{model: {model}, pci: \"0000:01:00.0\"}}]\n"
    )
}

#[test]
fn old_driver_has_clocks_where_a_new_one_has_power_smoothing() {
    let yaml = one_gpu("575.57.08", "T4");
    in_child_on("fields::old_driver_has_clocks_where_a_new_one_has_power_smoothing", &yaml, || {
        assert_eq!(read(251, 0).map(|(kind, _)| kind), Ok(3));
        assert_eq!(read(269, 0), Err(Code::NOT_SUPPORTED));
        assert_eq!(read(274, 0), Err(Code::INVALID_ARGUMENT), "a field that came later");
    });
}

#[test]
fn new_driver_has_clocks_behind_power_smoothing() {
    in_child_on("fields::new_driver_has_clocks_behind_power_smoothing", &one_gpu("580.95.05", "T4"), || {
        assert_eq!(read(251, 0), Err(Code::NOT_SUPPORTED));
        assert_eq!(read(269, 0).map(|(kind, _)| kind), Ok(3));
    });
}

#[test]
fn driver_of_nvml_12_4_does_not_know_the_recovery_action() {
    let yaml = one_gpu("550.90.07", "T4");
    in_child_on("fields::driver_of_nvml_12_4_does_not_know_the_recovery_action", &yaml, || {
        assert_eq!(read(230, 0), Err(Code::INVALID_ARGUMENT));
        assert_eq!(read(190, 0).map(|(kind, _)| kind), Ok(1));
    });
}

#[test]
fn scope_is_a_link_or_all_of_them_and_of_power_the_gpu() {
    in_child("fields::scope_is_a_link_or_all_of_them_and_of_power_the_gpu", "dgx-h100", || {
        own_folder().freeze_clock().unwrap();
        own_folder().set("0", "load", "training").unwrap();
        own_folder().advance_clock(std::time::Duration::from_secs(60)).unwrap();
        let (one, all) = (read(138, 17).unwrap().1, read(138, u32::MAX).unwrap().1);
        assert!(one > 0 && all == 18 * one, "{one} KiB over one link, {all} over all");
        assert_eq!(read(138, 18), Err(Code::INVALID_ARGUMENT));
        assert!(read(140, 0) > read(138, 0));
        // Eighteen links over four switches: the first GPU has the first ports.
        assert_eq!((read(146, 0), read(146, 4)), (Ok((1, 0)), Ok((1, 1))));
        assert_eq!(read(186, 0).map(|(kind, _)| kind), Ok(1));
        assert_eq!((read(186, 1), read(186, 4)), (Err(Code::NOT_SUPPORTED), Err(Code::INVALID_ARGUMENT)));
        // Below zero, as a signed number.
        let (kind, bits) = read(193, 0).unwrap();
        assert!(kind == 5 && (bits as u32).cast_signed() < 0, "{kind} {bits:#x}");
        assert_eq!(read(202, 0), Err(Code::NOT_SUPPORTED), "of NVLink 5");
    });
}

#[test]
fn errors_of_a_link_are_cleared_one_field_at_a_time() {
    in_child("fields::errors_of_a_link_are_cleared_one_field_at_a_time", "dgx-h100", || {
        for counter in ["nvlink.3.replay", "nvlink.3.crc-flit", "nvlink.4.replay"] {
            let count = FaultEntry { count: Some(counter.parse().unwrap()), ..FaultEntry::default() };
            own_folder().declare(FaultEntry { gpu: Some("0".to_owned()), ..count }).unwrap();
        }
        assert_eq!((read(49, 0), read(52, 0), read(161, 3)), (Ok((3, 1)), Ok((3, 2)), Ok((3, 1))));
        assert_eq!(clear(230, 0), Err(Code::NOT_SUPPORTED));
        if rustix::process::geteuid().is_root() {
            assert_eq!(clear(161, 3), Ok(()));
            assert_eq!((read(49, 0), read(52, 0), read(35, 0)), (Ok((3, 0)), Ok((3, 1)), Ok((3, 1))));
        } else {
            assert_eq!(clear(161, 3), Err(Code::NO_PERMISSION));
        }
    });
}
