//! The host root: what lies where, and that its files are what they seem.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use nvml_sim::root::{RootError, RootReport};
use nvml_sim::{StateFolder, install, root};

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
    folder.inject_xid("0", 79, None, None).unwrap();
    assert!(read("var/log/kmsg").contains("Xid (PCI:0000:07:00): 79"));
    assert!(read("proc/driver/nvidia/version").contains("580.95.05"));
    let uuid = &folder.node().unwrap().gpus[0].uuid;
    assert!(read("proc/driver/nvidia/gpus/0000:07:00.0/information").contains(uuid));
    assert_eq!(read("sys/bus/pci/devices/0000:07:00.0/numa_node"), "3\n");
    let regions = read("sys/bus/pci/devices/0000:07:00.0/resource");
    let regions: Vec<&str> = regions.lines().collect();
    assert_eq!(regions.len(), 13);
    assert_eq!(regions[0], "0x0000000080000000 0x0000000080ffffff 0x0000000000040200");
    assert_eq!(regions[1], "0x0000200000000000 0x0000201fffffffff 0x000000000014220c");
    assert_eq!(regions[2], "0x0000000000000000 0x0000000000000000 0x0000000000000000");
    assert_eq!(read("sys/bus/pci/devices/0000:07:00.0/class"), "0x030200\n");
    assert_eq!(read("sys/bus/pci/devices/0000:c4:00.0/class"), "0x068000\n");
    assert_eq!(read("sys/bus/pci/devices/0000:c4:00.0/device"), "0x1af1\n");
    assert_eq!(read("sys/devices/system/node/node4/cpulist"), "64-79,192-207\n", "a NUMA node without a GPU");
    let config = fs::read(host.join("sys/bus/pci/devices/0000:07:00.0/config")).unwrap();
    assert_eq!(config[..4], [0xDE, 0x10, 0xB2, 0x20]);
    assert!(read("sys/class/dmi/id/product_name").starts_with("DGXA100"));
    assert!(read("proc/modules").contains("nvidia_uvm"));
    assert!(read("proc/devices").contains("  4 nvidia-caps\n"));
    // As NVIDIA's MIG user guide shows it, the first lines and the last.
    let minors = read("proc/driver/nvidia-caps/mig-minors");
    let beginning = "config 1\nmonitor 2\ngpu0/gi0/access 3\ngpu0/gi0/ci0/access 4\ngpu0/gi0/ci1/access 5\n";
    assert!(minors.starts_with(beginning), "{minors}");
    assert!(minors.ends_with("gpu31/gi14/ci6/access 4321\ngpu31/gi14/ci7/access 4322\n"), "{minors}");
}

#[test]
fn root_shows_what_the_node_file_says_of_dmi_kernel_module_and_pci_configuration() {
    let yaml = "driver: {version: 580.95.05, cuda: \"13.0\", kernel-module: open}\nseed: guest\ndmi: false\ngpus:\n\
        - {model: T4, pci: \"0000:01:00.0\", vgpu: {host-version: \"535.129.03\", host-branch: r535_00}}\n\
        - {model: T4, pci: \"0000:02:00.0\", pci-config: head}\n\
        - {model: T4, pci: \"0000:03:00.0\", pci-config: missing}\n";
    let dir = tempfile::tempdir().unwrap();
    let folder = StateFolder::create(&dir.path().join("node"), "guest.yaml".as_ref(), yaml).unwrap();
    let host = dir.path().join("host");
    lay(&folder, &host).unwrap();
    assert!(!host.join("sys/class/dmi").exists());
    let version = fs::read_to_string(host.join("proc/driver/nvidia/version")).unwrap();
    assert!(version.contains("Open Kernel Module for x86_64  580.95.05"), "{version}");
    let config = |bus: u8| fs::read(host.join(format!("sys/bus/pci/devices/0000:{bus:02x}:00.0/config")));
    let vgpu = config(1).unwrap();
    assert_eq!((vgpu.len(), vgpu[0x34]), (256, 0xD0));
    assert_eq!(vgpu[0xD0..0xD7], *b"\x09\x68\x1bVF\x00\x16");
    assert_eq!(vgpu[0xD7..0xEB], *b"535.129.03r535_00\0\0\0");
    assert_eq!(config(2).unwrap().len(), 64);
    assert!(config(3).is_err());
}

#[test]
fn capabilities_of_mig_instances_follow_when_the_root_is_laid_again() {
    let (dir, folder) = node("dgx-h100");
    let library = dir.path().join("stand-in.so");
    fs::write(&library, STAND_IN).unwrap();
    let host = dir.path().join("host");
    let made = folder.change_mig("1", |mig, gpu| {
        mig.set_mode(gpu, true)??;
        let instance = mig.create(gpu, 9, None)?;
        mig.create_compute(gpu, instance, 2, None)?;
        Ok(instance)
    });
    assert_eq!(made.unwrap(), 2);
    root::lay(&folder, &host, Some(&library)).unwrap();
    let minors = fs::read_to_string(host.join("proc/driver/nvidia-caps/mig-minors")).unwrap();
    let capabilities = host.join("proc/driver/nvidia/capabilities/gpu1/mig");
    let nodes = host.join("dev/nvidia-caps");
    for (name, number) in [("gi2/access", 156), ("gi2/ci0/access", 157)] {
        assert!(minors.contains(&format!("gpu1/{name} {number}\n")), "{name}");
        let text = fs::read_to_string(capabilities.join(name)).unwrap();
        assert_eq!(text, format!("DeviceFileMinor: {number}\nDeviceFileMode: 292\nDeviceFileModify: 1\n"));
        assert!(nodes.join(format!("nvidia-cap{number}")).exists());
    }
    let end = |mig: &mut nvml_sim::MigState, gpu: &nvml_sim::Gpu| {
        mig.reset(gpu);
        Ok(())
    };
    folder.change_mig("1", end).unwrap();
    root::lay(&folder, &host, Some(&library)).unwrap();
    assert!(!capabilities.exists());
    let mut names: Vec<_> = fs::read_dir(&nodes).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["nvidia-cap1", "nvidia-cap2"]);
}

#[test]
fn device_nodes_have_numbers_that_containers_are_denied_or_are_plain_files_with_a_note() {
    let (dir, folder) = node("dgx-a100");
    let library = dir.path().join("stand-in.so");
    fs::write(&library, STAND_IN).unwrap();
    let host = dir.path().join("host");
    let report = root::lay(&folder, &host, Some(&library)).unwrap();
    let real = may_make_devices(dir.path());
    assert_eq!(report.notes.is_empty(), real, "{:?}", report.notes);
    let control = ["nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset"];
    let others = ["nvidia0", "nvidia7", "nvidia-caps/nvidia-cap1", "nvidia-caps/nvidia-cap2"];
    let mut numbers = BTreeSet::new();
    for name in control.into_iter().chain(others) {
        let file = fs::metadata(host.join("dev").join(name)).unwrap();
        if real {
            assert!(numbers.insert(file.rdev()), "{name} has a number of its own");
            assert!(file.file_type().is_char_device(), "{name}");
            assert_eq!(rustix::fs::major(file.rdev()), 4, "{name}");
            assert!((40..64).contains(&rustix::fs::minor(file.rdev())), "{name}");
        } else {
            assert!(file.is_file(), "{name}");
        }
        assert_eq!(file.mode() & 0o777, 0o666, "{name}");
    }
}

/// Whether this process may make such device nodes, as root of a whole machine may.
pub fn may_make_devices(dir: &Path) -> bool {
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    let probe = dir.join("probe");
    let made = mknodat(CWD, &probe, FileType::CharacterDevice, Mode::RUSR, makedev(4, 40)).is_ok();
    let _ = fs::remove_file(probe);
    made
}

/// Lays a root with a stand-in for the library.
pub fn lay(folder: &StateFolder, host: &Path) -> Result<RootReport, RootError> {
    let library = host.with_file_name("stand-in.so");
    fs::write(&library, STAND_IN).unwrap();
    root::lay(folder, host, Some(&library))
}

#[test]
fn gpus_beyond_the_denied_numbers_get_plain_files_and_a_note() {
    let mut yaml = "driver: {version: 580.95.05, cuda: \"13.0\"}\nseed: many\ngpus:\n".to_owned();
    for index in 0..24 {
        yaml += &format!("- {{model: T4, pci: \"0000:{index:02x}:00.0\"}}\n");
    }
    let dir = tempfile::tempdir().unwrap();
    let folder = StateFolder::create(&dir.path().join("node"), "many.yaml".as_ref(), &yaml).unwrap();
    let host = dir.path().join("host");
    let report = lay(&folder, &host).unwrap();
    for index in 0..24 {
        let file = fs::metadata(host.join(format!("dev/nvidia{index}"))).unwrap();
        // 4:64 and up are serial ports.
        assert!(file.is_file() || rustix::fs::minor(file.rdev()) < 64, "nvidia{index}");
    }
    assert!(fs::metadata(host.join("dev/nvidia23")).unwrap().is_file());
    let note = if may_make_devices(dir.path()) { "the last 6 GPUs" } else { "only root" };
    assert!(matches!(&report.notes[..], [only] if only.contains(note)), "{:?}", report.notes);
}

#[test]
fn root_laid_for_another_node_keeps_nothing_of_the_former() {
    let (dir, large) = node("dgx-a100");
    let (_other, small) = node("t4");
    let yaml = fs::read_to_string(small.dir().join("node.yaml")).unwrap();
    fs::write(small.dir().join("node.yaml"), yaml.replace("580.95.05", "570.1.2")).unwrap();
    let (twice, once) = (dir.path().join("twice"), dir.path().join("once"));
    lay(&large, &twice).unwrap();
    fs::write(twice.join("dev/mine"), "").unwrap();
    fs::write(twice.join("etc"), "").unwrap();
    lay(&small, &twice).unwrap();
    lay(&small, &once).unwrap();
    assert!(twice.join("dev/mine").exists() && twice.join("etc").exists(), "what is not ours stays");
    fs::remove_file(twice.join("dev/mine")).unwrap();
    fs::remove_file(twice.join("etc")).unwrap();
    assert_eq!(tree(&twice), tree(&once));
}

#[test]
fn record_that_leads_out_of_the_root_is_not_followed() {
    let (dir, folder) = node("t4");
    let host = dir.path().join("host");
    lay(&folder, &host).unwrap();
    let outside = dir.path().join("outside");
    fs::write(&outside, "").unwrap();
    fs::write(host.join(".nvml-sim-root"), format!("../outside\n{}\n", outside.display())).unwrap();
    lay(&folder, &host).unwrap();
    assert!(outside.exists());
}

/// Every file and folder below a folder.
pub fn tree(dir: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
            found.insert(entry.path().strip_prefix(dir).unwrap().to_owned());
        }
    }
    found
}

#[test]
fn root_that_was_half_laid_is_laid_again() {
    let (dir, folder) = node("t4");
    let host = dir.path().join("host");
    let libraries = host.join(root::LIBRARY_DIR);
    // What stands in the way of the link to the node ends the first run there.
    let in_the_way = libraries.join(".node.link.next/file");
    fs::create_dir_all(&in_the_way).unwrap();
    assert!(matches!(lay(&folder, &host), Err(RootError::Io { .. })));
    fs::remove_dir_all(libraries.join(".node.link.next")).unwrap();
    // As an earlier version left it, without a record.
    fs::remove_file(host.join(".nvml-sim-root")).unwrap();
    lay(&folder, &host).unwrap();
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
