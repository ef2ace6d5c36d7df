//! A library with the functions of an older driver.

use std::ffi::OsString;
use std::process::Command;

use nvml_sim::{Branch, StateFolder, install};
use nvml_wrapper::Nvml;

use crate::sim::{LIBRARY, child, is_child, library, node, passed};

/// The trimmed library of a node.
fn trimmed(folder: &StateFolder, branch: &str) -> std::path::PathBuf {
    let branch: Branch = branch.parse().unwrap();
    install::of_branch(folder, Some(&library()), branch).unwrap()
}

#[test]
fn functions_that_came_later_are_not_found_and_the_others_work() {
    const NAME: &str = "old_driver::functions_that_came_later_are_not_found_and_the_others_work";
    if is_child() {
        let nvml = Nvml::builder().lib_path(library().as_os_str()).init().unwrap();
        let lib = nvml.lib();
        // Of 470: neither what came with 510 nor with 525 and later.
        assert!(lib.nvmlDeviceGetMemoryInfo_v2.is_err());
        assert!(lib.nvmlDeviceGetGpuFabricInfo.is_err());
        assert!(lib.nvmlDeviceGetGpuFabricInfoV.is_err());
        assert!(lib.nvmlDeviceGetMemoryInfo.is_ok() && lib.nvmlDeviceGetMigMode.is_ok());
        assert_eq!(nvml.device_count().unwrap(), 8);
        let device = nvml.device_by_index(7).unwrap();
        assert!(
            device.name().is_ok()
                && device
                    .temperature_threshold(
                        nvml_wrapper::enum_wrappers::device::TemperatureThreshold::Slowdown,
                    )
                    .is_ok()
        );
        return;
    }
    let (_dir, folder) = node("dgx-a100");
    let path = trimmed(&folder, "470");
    passed(&child(NAME, folder.dir()).env(LIBRARY, path).output().unwrap());
}

#[test]
fn newer_branches_have_what_came_until_then() {
    let lacks = |branch: &str| branch.parse::<Branch>().unwrap().lacks();
    let [first, oldest, middle, newest] = ["450", "470", "510", "550"].map(lacks);
    assert!(newest.is_subset(&middle) && middle.is_subset(&oldest) && oldest.is_subset(&first));
    // The first branch with MIG has no placements yet.
    assert!(!first.contains("nvmlDeviceGetMigMode") && !first.contains("nvmlDeviceCreateGpuInstance"));
    let later = "nvmlDeviceGetGpuInstancePossiblePlacements_v2";
    assert!(first.contains(later) && !oldest.contains(later));
    assert!(oldest.contains("nvmlDeviceGetMemoryInfo_v2") && !middle.contains("nvmlDeviceGetMemoryInfo_v2"));
    assert!(middle.contains("nvmlDeviceGetGpuFabricInfo") && !newest.contains("nvmlDeviceGetGpuFabricInfo"));
    assert!(newest.contains("nvmlDeviceGetTemperatureV"));
    assert!("535".parse::<Branch>().is_err());
}

#[test]
fn program_bound_to_a_missing_function_dies_as_on_an_old_driver() {
    let (_dir, folder) = node("t4");
    let path = trimmed(&folder, "470");
    let python = "import ctypes, sys\nlib = ctypes.CDLL(sys.argv[1])\nassert lib.nvmlInit_v2() == 0\nlib.nvmlDeviceGetGpuFabricInfo";
    let mut command = Command::new("python3");
    command.args(["-c", python]).arg(&path).env("NVML_SIM_DIR", folder.dir());
    let Ok(output) = command.output() else { return };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("undefined symbol: nvmlDeviceGetGpuFabricInfo"),
        "{said}"
    );
    // The program's library path leads to the trimmed one alone.
    let command = install::command(&folder, None, Some(&path), &OsString::from("true")).unwrap();
    let of = |name: &str| {
        let set =
            command.get_envs().find(|(key, _)| *key == name).and_then(|(_, value)| value.map(OsString::from));
        set.unwrap_or_default().to_string_lossy().into_owned()
    };
    assert!(of("LD_LIBRARY_PATH").contains("lib-470") && of("GANTRY_NVML_LIBRARY").contains("lib-470"));
}
