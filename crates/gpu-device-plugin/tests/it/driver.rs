//! Drivers that come late or in parts.

use crate::harness::{QUICK, bare, counts, eventually, gpus, serving, start_kubelet, start_plugin};

#[tokio::test]
async fn driver_that_appears_later_is_picked_up_without_a_restart() {
    let node = bare().without_driver().build().unwrap();
    let kubelet = start_kubelet(&node).await;
    let plugin = start_plugin(&node, &QUICK);
    plugin.readiness_says(&["\"no-driver\"", "libnvidia-ml.so.1"]).unwrap();
    assert!(kubelet.resources().resources.is_empty());
    node.install_driver().unwrap();
    counts(&kubelet, 8, 8);
    plugin.ready().unwrap();
}

#[tokio::test]
async fn missing_uvm_node_holds_the_registration_until_it_is_there() {
    let node = bare().build().unwrap();
    let uvm = node.root().join("dev/nvidia-uvm");
    std::fs::rename(&uvm, node.dir().join("uvm")).unwrap();
    let kubelet = start_kubelet(&node).await;
    let plugin = start_plugin(&node, &QUICK);
    plugin.readiness_says(&["\"uvm-missing\"", "nvidia-modprobe"]).unwrap();
    assert!(kubelet.resources().resources.is_empty());
    std::fs::rename(node.dir().join("uvm"), &uvm).unwrap();
    counts(&kubelet, 8, 8);
    plugin.ready().unwrap();
}

#[cfg(target_arch = "x86_64")]
/// A program that makes an empty file `/dev/nvidia-uvm` below the root that it is started in, and ends with 0: the
/// smallest ELF file for x86-64, since there is no loader and no shell in a simulated root.
fn uvm_maker() -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const CODE_AT: u64 = 64 + 56;
    let path = b"/dev/nvidia-uvm\0";
    let code_size = 25;
    let path_at = u32::try_from(BASE + CODE_AT + code_size).unwrap().to_le_bytes();
    let mut code = vec![0xB8, 85, 0, 0, 0]; // mov eax, 85 (creat)
    code.push(0xBF); // mov edi, path
    code.extend(path_at);
    code.extend([0xBE, 0xB6, 1, 0, 0, 0x0F, 0x05]); // mov esi, 0666; syscall
    code.extend([0x6A, 60, 0x58, 0x31, 0xFF, 0x0F, 0x05, 0x90]); // rax = 60 (exit), edi = 0; syscall
    assert_eq!(code.len() as u64, code_size);
    code.extend(path);
    let size = CODE_AT + code.len() as u64;
    let mut file = vec![0x7F, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]); // ET_EXEC, x86-64
    for word in [BASE + CODE_AT, 64, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    file.extend([1, 0, 0, 0, 5, 0, 0, 0]); // PT_LOAD, read and execute
    for word in [0, BASE, BASE, size, size, 0x1000] {
        file.extend(word.to_le_bytes());
    }
    file.extend(code);
    file
}

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn missing_uvm_node_is_made_by_the_drivers_own_program() {
    use std::os::unix::fs::PermissionsExt;

    let node = bare().build().unwrap();
    let uvm = node.root().join("dev/nvidia-uvm");
    std::fs::remove_file(&uvm).unwrap();
    let program = node.root().join("usr/bin/nvidia-modprobe");
    std::fs::write(&program, uvm_maker()).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let kubelet = start_kubelet(&node).await;
    let plugin = start_plugin(&node, &QUICK);
    if rustix::process::geteuid().is_root() {
        counts(&kubelet, 8, 8);
        plugin.ready().unwrap();
        assert!(uvm.exists());
    } else {
        plugin.readiness_says(&["\"uvm-missing\"", "the root"]).unwrap();
    }
}

#[tokio::test]
async fn nvidia_modprobe_that_cannot_run_is_told_beside_what_is_missing() {
    let node = bare().build().unwrap();
    std::fs::remove_file(node.root().join("dev/nvidia-uvm")).unwrap();
    std::fs::write(node.root().join("usr/bin/nvidia-modprobe"), "no program").unwrap();
    let plugin = start_plugin(&node, &QUICK);
    plugin.readiness_says(&["\"uvm-missing\"", "nvidia-modprobe -u -c0", "cannot"]).unwrap();
}

#[tokio::test]
async fn uvm_node_that_vanishes_later_takes_all_devices_and_leaves_the_spec_until_it_is_back() {
    let (node, kubelet, plugin) = serving().await;
    plugin.ready().unwrap();
    let spec = || std::fs::read_to_string(node.cdi_dir().join("gantry.dev-gpu.json")).unwrap();
    let before = spec();
    let (there, away) = (node.root().join("dev/nvidia-uvm"), node.dir().join("uvm"));
    std::fs::rename(&there, &away).unwrap();
    plugin.readiness_says(&["\"uvm-missing\"", "nvidia-modprobe"]).unwrap();
    counts(&kubelet, 8, 0);
    assert_eq!(spec(), before);
    std::fs::rename(&away, &there).unwrap();
    counts(&kubelet, 8, 8);
    plugin.ready().unwrap();
    assert_eq!(spec(), before);
}

#[tokio::test]
async fn gpu_without_its_device_node_is_listed_and_cannot_be_had() {
    let node = bare().build().unwrap();
    std::fs::remove_file(node.root().join("dev/nvidia6")).unwrap();
    let kubelet = start_kubelet(&node).await;
    let plugin = start_plugin(&node, &QUICK);
    counts(&kubelet, 8, 7);
    plugin.ready_and_says(&["/dev/nvidia6 does not exist"]).unwrap();
}

#[tokio::test]
async fn device_node_that_vanishes_later_takes_its_gpu_until_it_is_back_and_the_report_says_why() {
    let (node, kubelet, _plugin) = serving().await;
    let (there, away) = (node.root().join("dev/nvidia6"), node.dir().join("nvidia6"));
    std::fs::rename(&there, &away).unwrap();
    counts(&kubelet, 8, 7);
    let gpu = gpus(&node)[6].clone();
    eventually("the report says why", || {
        let report =
            std::fs::read_to_string(node.run_dir().join("device-plugin/inventory.json")).unwrap_or_default();
        let read: serde_json::Value = serde_json::from_str(&report).unwrap_or_default();
        let record = &read["health"][&gpu];
        let is_so = record["health"]["state"] == "healthy"
            && record["not_offered"].as_str().is_some_and(|why| why.contains("/dev/nvidia6"));
        if is_so { Ok(()) } else { Err(report) }
    });
    std::fs::rename(&away, &there).unwrap();
    counts(&kubelet, 8, 8);
}
