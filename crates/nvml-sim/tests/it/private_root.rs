//! `nvml-sim run --private`: the host root at the machine's own paths, for one program.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use nvml_sim::root;

use crate::sim::{node, nvml_sim, said};

#[test]
fn private_run_sees_the_root_at_fixed_paths_and_leaves_the_machine_as_it_was() {
    // An ordinary user is root in a user namespace of its own, where the machine allows that.
    let as_root: &[&str] = if rustix::process::geteuid().is_root() {
        &["env"]
    } else {
        &["unshare", "--map-root-user", "--mount"]
    };
    let can = Command::new(as_root[0]).args(&as_root[1..]).arg("true").output();
    if !can.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: neither root nor user namespaces");
        return;
    }
    let (dir, folder) = node("dgx-h100");
    let library = dir.path().join("stand-in.so");
    fs::write(&library, "not a library").unwrap();
    let host = dir.path().join("host");
    root::lay(&folder, &host, Some(&library)).unwrap();
    let listing = |dir: &str| {
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    };
    let folders = ["/dev", "/usr/bin"];
    let before = folders.map(listing);

    let script = format!(
        "cat /proc/driver/nvidia/version /sys/bus/pci/devices/0000:1b:00.0/class \
             /sys/class/dmi/id/product_name {}/libnvidia-ml.so.1 && \
         test -e /dev/nvidia7 && echo lost >/dev/null && ls -1 /dev /usr/bin && test -z \"$LD_LIBRARY_PATH\"",
        Path::new("/").join(root::LIBRARY_DIR).display()
    );
    let mut command = Command::new(as_root[0]);
    command.args(&as_root[1..]).arg(env!("CARGO_BIN_EXE_nvml-sim")).arg("--dir").arg(folder.dir());
    command.args(["run", "--private", "--root"]).arg(&host).args(["--", "sh", "-c", &script]);
    let seen = said(&command.env_remove("LD_LIBRARY_PATH").output().unwrap());
    for part in ["580.95.05", "0x030200", "DGXH100", "not a library", "nvidia-uvm", "nvidia-smi"] {
        assert!(seen.contains(part), "`{part}` is missing from\n{seen}");
    }
    for name in before.iter().flatten() {
        assert!(seen.lines().any(|line| line == name), "the machine's own {name} is hidden");
    }
    assert_eq!(folders.map(listing), before, "nothing is made outside");
}

#[test]
fn private_run_needs_a_root_that_was_laid() {
    let (dir, folder) = node("t4");
    let run = |arguments: &[&str]| {
        let output = nvml_sim(folder.dir()).args(["run", "--private"]).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = run(&["--", "true"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("--root"), "{said}");
    let (code, said) = run(&["--root", dir.path().to_str().unwrap(), "--", "true"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("holds no simulated driver"), "{said}");
}
