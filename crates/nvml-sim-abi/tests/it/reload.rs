//! A driver that is loaded anew under a running program.

use nvml_sim::Code;
use nvml_wrapper::Nvml;
use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::error::NvmlError;

use crate::sim::{child, in_child, is_child, library, node, nvml, own_folder, passed};

#[test]
fn program_of_an_earlier_load_is_uninitialised_until_it_begins_anew() {
    in_child("reload::program_of_an_earlier_load_is_uninitialised_until_it_begins_anew", "dgx-a100", || {
        let nvml = nvml();
        let device = nvml.device_by_index(3).unwrap();
        let uuid = device.uuid().unwrap();
        let set = nvml.create_event_set().unwrap();
        let set = device.register_events(EventTypes::CRITICAL_XID_ERROR, set).unwrap();
        own_folder().set("3", "persistence-mode", "off").unwrap();
        own_folder().reload(None).unwrap();
        assert!(matches!(device.uuid(), Err(NvmlError::Uninitialized)));
        assert!(matches!(nvml.device_count(), Err(NvmlError::Uninitialized)));
        assert!(matches!(set.wait(60_000), Err(NvmlError::Uninitialized)), "at once");
        let init = *nvml.lib().nvmlInit_v2.as_ref().unwrap();
        // SAFETY: it takes nothing.
        assert_eq!(unsafe { init() }, Code::UNINITIALIZED.0, "a nested one begins nothing anew");
        let shutdown = *nvml.lib().nvmlShutdown.as_ref().unwrap();
        // SAFETY: as above.
        assert_eq!(unsafe { (shutdown(), init()) }, (0, 0));
        let device = nvml.device_by_index(3).unwrap();
        assert_eq!(device.uuid().unwrap(), uuid);
        assert!(device.is_in_persistent_mode().unwrap(), "modes are those of a new driver");
    });
}

#[test]
fn program_of_an_earlier_version_mismatches_until_it_is_started_again() {
    const NAME: &str = "reload::program_of_an_earlier_version_mismatches_until_it_is_started_again";
    if is_child() {
        let nvml = nvml();
        let before = nvml.sys_driver_version().unwrap();
        // The second child starts on what the first has loaded.
        let next = if before == "580.95.05" { "590.1" } else { "580.95.05" };
        assert_eq!(nvml.sys_nvml_version().unwrap(), format!("13.{before}"));
        own_folder().reload(Some(next)).unwrap();
        assert!(matches!(nvml.device_count(), Err(NvmlError::LibRmVersionMismatch)));
        nvml.shutdown().unwrap();
        let again = Nvml::builder().lib_path(library().as_os_str()).init();
        assert!(matches!(again, Err(NvmlError::LibRmVersionMismatch)), "{again:?}");
        return;
    }
    let (_dir, folder) = node("t4");
    for (load, version) in [(1, "590.1"), (2, "580.95.05")] {
        passed(&child(NAME, folder.dir()).output().unwrap());
        assert_eq!(folder.node().unwrap().driver_version, version);
        assert_eq!(folder.state().unwrap().driver.number, load);
    }
}
