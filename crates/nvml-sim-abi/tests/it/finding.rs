//! How a library in use finds its node, and what it says where there is none.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use nvml_sim::{StateFolder, install, root};
use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;

use crate::sim::{LIBRARY, child, is_child, library, node, nvml, passed};

/// A copy of the library alone in a folder.
fn alone(dir: &Path) -> PathBuf {
    fs::create_dir(dir).unwrap();
    let copy = dir.join("libnvidia-ml.so.1");
    fs::copy(library(), &copy).unwrap();
    copy
}

/// A child process that loads a library, without a word in its environment about nodes.
fn child_with(name: &str, library: &Path) -> Command {
    let mut command = child(name, Path::new(""));
    command.env_remove("NVML_SIM_DIR").env(LIBRARY, library);
    command
}

#[test]
fn library_finds_its_node_by_the_link_beside_it() {
    const NAME: &str = "finding::library_finds_its_node_by_the_link_beside_it";
    if is_child() {
        assert_eq!(nvml().device_count().unwrap(), 8);
        return;
    }
    let (dir, folder) = node("dgx-h100");
    let copy = alone(&dir.path().join("linked"));
    symlink("../node", copy.with_file_name("node.link")).unwrap();
    passed(&child_with(NAME, &copy).output().unwrap());
    let copy = alone(&dir.path().join("told"));
    fs::write(copy.with_file_name("node.link"), format!("{}\n", folder.dir().display())).unwrap();
    passed(&child_with(NAME, &copy).output().unwrap());
    let copy = alone(&dir.path().join("told-relatively"));
    fs::write(copy.with_file_name("node.link"), "../node\n").unwrap();
    passed(&child_with(NAME, &copy).output().unwrap());
}

#[test]
fn program_run_on_a_host_root_sees_the_node_by_that_roots_library() {
    const NAME: &str = "finding::program_run_on_a_host_root_sees_the_node_by_that_roots_library";
    if is_child() {
        let named = PathBuf::from(std::env::var_os("GANTRY_NVML_LIBRARY").unwrap());
        let host = PathBuf::from(std::env::var_os("GANTRY_HOST_ROOT").unwrap());
        assert_eq!(named, host.join(root::LIBRARY_DIR).join(install::SONAME));
        // As a program does that knows nothing of Gantry: by name, through LD_LIBRARY_PATH.
        assert_eq!(Nvml::init().unwrap().device_count().unwrap(), 8);
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        assert!(maps.contains(host.join(root::LIBRARY_DIR).to_str().unwrap()), "{maps}");
        return;
    }
    let (dir, folder) = node("dgx-h100");
    let host = dir.path().join("host");
    root::lay(&folder, &host, Some(&library())).unwrap();
    let program = std::env::current_exe().unwrap().into_os_string();
    let mut command = install::command(&folder, Some(&host), None, &program).unwrap();
    command.args(["--exact", NAME, "--nocapture", "--test-threads=1"]).env("NVML_SIM_TEST_CHILD", "1");
    // The way through the link is meant, not the one through the environment.
    passed(&command.env_remove("NVML_SIM_DIR").output().unwrap());
}

#[test]
fn node_that_cannot_be_used_is_told_once_and_is_a_driver_that_is_not_loaded() {
    const NAME: &str = "finding::node_that_cannot_be_used_is_told_once_and_is_a_driver_that_is_not_loaded";
    if is_child() {
        for _ in 0..3 {
            let nvml = Nvml::builder().lib_path(library().as_os_str()).init();
            assert!(matches!(nvml, Err(NvmlError::DriverNotLoaded)), "{nvml:?}");
        }
        return;
    }
    let told = |command: &mut Command, reason: &str| {
        let output = command.output().unwrap();
        passed(&output);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(said.matches(reason).count(), 1, "`{reason}` once in: {said}");
    };
    let (dir, folder) = node("t4");
    told(&mut child(NAME, &dir.path().join("ndoe")), "ndoe is no simulated node: it has no node.yaml");
    told(&mut child(NAME, dir.path()), "is no simulated node: it has no node.yaml");
    let copy = alone(&dir.path().join("alone"));
    told(&mut child_with(NAME, &copy), "NVML_SIM_DIR is not set, and there is no node.link beside");
    symlink("gone", copy.with_file_name("node.link")).unwrap();
    told(&mut child_with(NAME, &copy), "alone/node.link leads to none");
    fs::write(folder.dir().join("node.yaml"), "gpus: 3\n").unwrap();
    told(&mut child(NAME, folder.dir()), "node.yaml:1:7: gpus: ");
}

#[test]
fn state_of_another_format_is_a_version_mismatch() {
    const NAME: &str = "finding::state_of_another_format_is_a_version_mismatch";
    if is_child() {
        let nvml = Nvml::builder().lib_path(library().as_os_str()).init();
        assert!(matches!(nvml, Err(NvmlError::LibRmVersionMismatch)), "{nvml:?}");
        return;
    }
    let (_dir, folder) = node("t4");
    let state = folder.dir().join(fs::read_link(folder.dir().join("state")).unwrap());
    fs::write(&state, "{\"format\": 8, \"generation\": 0}").unwrap();
    let output = child(NAME, folder.dir()).output().unwrap();
    passed(&output);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("format 8") && said.contains("format 7"), "{said}");
}

#[test]
fn damaged_state_is_told_once_however_many_calls_meet_it() {
    const NAME: &str = "finding::damaged_state_is_told_once_however_many_calls_meet_it";
    if is_child() {
        let nvml = nvml();
        let folder = StateFolder::open(Path::new(&std::env::var_os("NVML_SIM_DIR").unwrap())).unwrap();
        folder.lose("0", None).unwrap();
        let state = fs::read_link(folder.dir().join("state")).unwrap();
        fs::write(folder.dir().join(state), "no state").unwrap();
        for _ in 0..3 {
            assert!(matches!(nvml.device_count(), Err(NvmlError::Unknown)));
        }
        return;
    }
    let (_dir, folder) = node("t4");
    let output = child(NAME, folder.dir()).output().unwrap();
    passed(&output);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said.matches("is no state of a simulated node").count(), 1, "{said}");
}
