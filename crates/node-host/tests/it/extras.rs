//! What a driver has beside libraries and programs.

use node_host::{DriverFile, daemon_sockets};

use crate::fixture::{Host, VERSION};

/// Where a container has each file, and where the host does.
fn places(files: &[DriverFile]) -> Vec<(String, String)> {
    files.iter().map(|file| (file.container.clone(), file.host.as_str().to_owned())).collect()
}

fn same(path: &str) -> (String, String) {
    (path.to_owned(), path.to_owned())
}

#[test]
fn firmware_of_the_driver_and_files_for_graphics_are_found() {
    let host = Host::with_driver("usr/lib64");
    let firmware = format!("lib/firmware/nvidia/{VERSION}/gsp_ga10x.bin");
    for path in [
        &firmware,
        "lib/firmware/nvidia/470.57.02/gsp.bin",
        &format!("lib/firmware/nvidia/{VERSION}/README"),
        "usr/share/glvnd/egl_vendor.d/10_nvidia.json",
        "usr/share/glvnd/egl_vendor.d/50_mesa.json",
        "etc/glvnd/egl_vendor.d/10_nvidia.json",
        "usr/share/nvidia/nvoptix.bin",
        "usr/share/vulkan/icd.d/nvidia_icd.x86_64.json",
    ] {
        host.file(path, "");
    }
    let vulkan = "vulkan/icd.d/nvidia_icd.x86_64.json";
    let expected = [
        same("/etc/glvnd/egl_vendor.d/10_nvidia.json"),
        (format!("/etc/{vulkan}"), format!("/usr/share/{vulkan}")),
        same(&format!("/{firmware}")),
        same("/usr/share/nvidia/nvoptix.bin"),
    ];
    assert_eq!(places(&host.driver().files().unwrap().extras), expected);
}

#[test]
fn firmware_that_updates_another_comes_first() {
    let host = Host::with_driver("usr/lib64");
    for folder in ["", "updates/"] {
        host.file(&format!("lib/firmware/{folder}nvidia/{VERSION}/gsp_tu10x.bin"), "");
    }
    let container = format!("/lib/firmware/nvidia/{VERSION}/gsp_tu10x.bin");
    let updated = format!("/lib/firmware/updates/nvidia/{VERSION}/gsp_tu10x.bin");
    assert_eq!(places(&host.driver().files().unwrap().extras), [(container, updated)]);
}

#[test]
fn files_of_a_driver_container_stand_at_their_own_places_in_a_container() {
    let host = Host::with_driver("run/driver/usr/lib64");
    host.file("run/driver/usr/share/vulkan/icd.d/nvidia_icd.json", "");
    let module = "usr/lib64/xorg/modules/extensions/libglxserver_nvidia.so";
    host.file(&format!("run/driver/{module}.{VERSION}"), "");
    let on_host = format!("/run/driver/{module}.{VERSION}");
    let expected = [
        (
            "/etc/vulkan/icd.d/nvidia_icd.json",
            "/run/driver/usr/share/vulkan/icd.d/nvidia_icd.json".to_owned(),
        ),
        (&format!("/{module}"), on_host.clone()),
        (&format!("/{module}.{VERSION}"), on_host),
    ];
    let expected = expected.map(|(container, host)| (container.to_owned(), host));
    assert_eq!(places(&host.driver_in("run/driver").files().unwrap().extras), expected);
}

#[test]
fn sockets_of_daemons_are_those_of_the_driver_container_or_of_the_host() {
    let host = Host::with_driver("run/driver/usr/lib64");
    let driver = host.driver_in("run/driver");
    assert_eq!(daemon_sockets(&driver, &host.root()), []);
    host.file("run/driver/run/nvidia-persistenced/socket", "");
    host.file("run/nvidia-fabricmanager/socket", "");
    let expected = [
        ("/run/nvidia-persistenced/socket", "/run/driver/run/nvidia-persistenced/socket"),
        ("/run/nvidia-fabricmanager/socket", "/run/nvidia-fabricmanager/socket"),
    ];
    let expected = expected.map(|(container, host)| (container.to_owned(), host.to_owned()));
    assert_eq!(places(&daemon_sockets(&driver, &host.root())), expected);
}
