//! The host root: what lies where, and that its files are what they seem.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::process::Command;

use nvml_sim::{install, root};

use crate::sim::{node, nvml_sim, said};

/// A stand-in for the library, whose own build has its own tests.
const STAND_IN: &[u8] = b"not a library";

#[test]
fn root_has_the_files_of_a_driver() {
    let (dir, folder) = node("dgx-a100");
    let library = dir.path().join("stand-in.so");
    fs::write(&library, STAND_IN).unwrap();
    let host = dir.path().join("host");
    root::lay(&folder, &host, Some(&library)).unwrap();
    let report = root::lay(&folder, &host, Some(&library)).unwrap();
    assert!(report.entries > 100, "laid twice");

    let read = |path: &str| fs::read_to_string(host.join(path)).unwrap();
    let lib = host.join(root::LIBRARY_DIR);
    assert_eq!(fs::read(lib.join(install::SONAME)).unwrap(), STAND_IN);
    assert_eq!(fs::read_link(lib.join("libcuda.so.1")).unwrap().to_str(), Some("libcuda.so.580.95.05"));
    assert_eq!(fs::read_link(lib.join("node.link")).unwrap(), folder.dir());
    assert!(read("proc/driver/nvidia/version").contains("580.95.05"));
    let uuid = &folder.node().unwrap().gpus[0].uuid;
    assert!(read("proc/driver/nvidia/gpus/0000:07:00.0/information").contains(uuid));
    assert_eq!(read("sys/bus/pci/devices/0000:07:00.0/numa_node"), "3\n");
    assert_eq!(read("sys/bus/pci/devices/0000:07:00.0/class"), "0x030200\n");
    assert_eq!(read("sys/bus/pci/devices/0000:c4:00.0/class"), "0x068000\n");
    assert_eq!(read("sys/bus/pci/devices/0000:c4:00.0/device"), "0x1af1\n");
    assert_eq!(read("sys/devices/system/node/node4/cpulist"), "64-79,192-207\n", "a NUMA node without a GPU");
    let config = fs::read(host.join("sys/bus/pci/devices/0000:07:00.0/config")).unwrap();
    assert_eq!(config[..4], [0xDE, 0x10, 0xB2, 0x20]);
    assert!(read("sys/class/dmi/id/product_name").starts_with("DGXA100"));
    assert!(read("proc/modules").contains("nvidia_uvm"));
}

#[test]
fn device_nodes_have_numbers_that_containers_are_denied_or_are_plain_files_with_a_note() {
    let (dir, folder) = node("dgx-a100");
    let library = dir.path().join("stand-in.so");
    fs::write(&library, STAND_IN).unwrap();
    let host = dir.path().join("host");
    let report = root::lay(&folder, &host, Some(&library)).unwrap();
    for name in ["nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset", "nvidia0", "nvidia7"] {
        let file = fs::metadata(host.join("dev").join(name)).unwrap();
        if report.notes.is_empty() {
            assert!(file.file_type().is_char_device(), "{name}");
            assert_eq!(rustix::fs::major(file.rdev()), 4, "{name}");
            assert!((40..64).contains(&rustix::fs::minor(file.rdev())), "{name}");
        } else {
            assert!(file.is_file(), "{name}");
        }
        assert_eq!(file.mode() & 0o777, 0o666, "{name}");
    }
}

#[test]
fn state_folder_within_the_root_is_linked_relatively() {
    let dir = tempfile::tempdir().unwrap();
    let host = dir.path().join("host");
    let state = host.join("var/lib/nvml-sim");
    said(&nvml_sim(&state).args(["init", "--preset", "t4"]).output().unwrap());
    let library = dir.path().join("stand-in.so");
    fs::write(&library, STAND_IN).unwrap();
    said(&nvml_sim(&state).arg("root").arg(&host).arg("--library").arg(&library).output().unwrap());
    let moved = dir.path().join("elsewhere");
    fs::rename(&host, &moved).unwrap();
    assert!(moved.join(root::LIBRARY_DIR).join("node.link/node.yaml").exists());
}

#[cfg(target_arch = "x86_64")]
#[test]
fn stand_in_programs_run_and_stand_in_libraries_load() {
    let (dir, folder) = node("t4");
    let library = dir.path().join("stand-in.so");
    fs::write(&library, STAND_IN).unwrap();
    let host = dir.path().join("host");
    root::lay(&folder, &host, Some(&library)).unwrap();
    let smi = host.join("usr/bin/nvidia-smi");
    assert!(said(&Command::new(&smi).output().unwrap()).contains("simulated"));

    let cuda = host.join(root::LIBRARY_DIR).join("libcuda.so.1");
    // The loader names on standard error what it cannot preload.
    let output = nvml_sim(folder.dir()).arg("presets").env("LD_PRELOAD", &cuda).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let output = nvml_sim(folder.dir()).arg("presets").env("LD_PRELOAD", &smi).output().unwrap();
    assert_ne!(String::from_utf8_lossy(&output.stderr), "", "what cannot be loaded is noticed");
}

#[test]
fn root_of_another_driver_is_refused_and_kept() {
    let (dir, folder) = node("t4");
    let library = dir.path().join("stand-in.so");
    fs::write(&library, STAND_IN).unwrap();
    let host = dir.path().join("host");
    let nvml = host.join(root::LIBRARY_DIR).join(install::SONAME);
    fs::create_dir_all(nvml.parent().unwrap()).unwrap();
    fs::write(&nvml, "a real one").unwrap();
    let refused =
        nvml_sim(folder.dir()).arg("root").arg(&host).arg("--library").arg(&library).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{}", String::from_utf8_lossy(&refused.stderr));
    assert_eq!(fs::read_to_string(&nvml).unwrap(), "a real one");
    assert!(!host.join("dev").exists());
}
