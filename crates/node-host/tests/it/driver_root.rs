//! Finding a driver, and telling its files from others.

use node_host::{DriverRoot, FilesError, HostRoot, LocalPath};

use crate::fixture::{Host, VERSION, host_path};

fn names(driver: &DriverRoot) -> Vec<String> {
    let libraries = driver.libraries().unwrap();
    libraries
        .into_iter()
        .flat_map(|library| {
            library.names.into_iter().map(move |name| format!("{}/{name}", library.subfolder))
        })
        .collect()
}

const NAMES: [&str; 11] = [
    "/libcuda.so",
    "/libcuda.so.1",
    "/libcuda.so.580.95.05",
    "/libnvidia-egl-wayland.so.1",
    "/libnvidia-egl-wayland.so.1.1.19",
    "/libnvidia-glcore.so.580.95.05",
    "/libnvidia-ml.so",
    "/libnvidia-ml.so.1",
    "/libnvidia-ml.so.580.95.05",
    "vdpau/libvdpau_nvidia.so.1",
    "vdpau/libvdpau_nvidia.so.580.95.05",
];

#[test]
fn driver_in_a_debian_layout_is_found_with_its_own_libraries_only() {
    let host = Host::with_driver("usr/lib/x86_64-linux-gnu");
    let driver = host.driver();
    assert_eq!(driver.find_nvml().unwrap(), host.local("usr/lib/x86_64-linux-gnu/libnvidia-ml.so.580.95.05"));
    assert_eq!(driver.version().unwrap(), VERSION);
    assert_eq!(names(&driver), NAMES);
}

#[test]
fn driver_in_a_rhel_layout_is_found_with_its_own_libraries_only() {
    let host = Host::with_driver("usr/lib64");
    host.link("usr/lib64", "lib64");
    assert_eq!(names(&host.driver()), NAMES);
}

#[test]
fn driver_in_both_layouts_is_taken_from_the_first_in_search_order() {
    let host = Host::with_driver("usr/lib/x86_64-linux-gnu");
    host.library("usr/lib64", "libnvidia-ml", VERSION, &["1"]);
    let libraries = host.driver().libraries().unwrap();
    let nvml: Vec<_> =
        libraries.iter().filter(|library| library.file_name.starts_with("libnvidia-ml")).collect();
    assert_eq!(nvml.len(), 1);
    assert_eq!(nvml[0].host, host_path("/usr/lib64/libnvidia-ml.so.580.95.05"));
}

#[test]
fn driver_that_is_missing_is_an_error_that_names_every_place() {
    let host = Host::empty();
    let error = host.driver().find_nvml().unwrap_err();
    assert_eq!(error.searched.len(), 6);
    for folder in ["usr/lib64", "usr/lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu"] {
        let place = host.local(folder).join("libnvidia-ml.so.1").to_string();
        assert!(error.to_string().contains(&place), "{error}");
    }
    assert!(matches!(host.driver().files(), Err(FilesError::NoDriver(_))));
}

#[test]
fn driver_whose_library_link_leads_nowhere_is_missing() {
    let host = Host::empty();
    host.link("libnvidia-ml.so.580.95.05", "usr/lib64/libnvidia-ml.so.1");
    assert!(host.driver().find_nvml().is_err());
}

#[test]
fn driver_root_with_an_absolute_link_takes_the_file_below_itself() {
    let host = Host::with_driver("run/nvidia/driver/usr/lib64");
    host.link(
        "/usr/lib64/libnvidia-ml.so.580.95.05",
        "run/nvidia/driver/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
    );
    std::fs::remove_file(host.path("run/nvidia/driver/usr/lib64/libnvidia-ml.so.1")).unwrap();
    let driver = host.driver_in("run/nvidia/driver");
    assert_eq!(
        driver.find_nvml().unwrap(),
        host.local("run/nvidia/driver/usr/lib64/libnvidia-ml.so.580.95.05")
    );
    let libraries = driver.libraries().unwrap();
    assert!(
        libraries.iter().all(|library| library.host.as_str().starts_with("/run/nvidia/driver/usr/lib64/")),
        "{libraries:?}"
    );
}

#[test]
fn driver_root_outside_the_host_root_has_no_host_name_unless_told() {
    let host = HostRoot::new("/host");
    let local = LocalPath::new("/driver-root");
    assert_eq!(DriverRoot::below(&host, local.clone()), None);
    assert_eq!(
        DriverRoot::at(host_path("/run/nvidia/driver"), local).root().host().as_str(),
        "/run/nvidia/driver"
    );
}

/// The layout that our own CDI spec makes inside a container: each name is a file of its own.
fn mounted() -> Host {
    let host = Host::empty();
    for folder in ["usr/lib64", "usr/lib/x86_64-linux-gnu"] {
        host.plain_library(folder, "libnvidia-ml", VERSION, &[".so", ".so.1"]);
        host.plain_library(folder, "libcuda", VERSION, &[".so", ".so.1"]);
        host.plain_library(folder, "libnvidia-glcore", VERSION, &[]);
        host.plain_library(folder, "libnvidia-egl-wayland", "1.1.19", &[".so.1"]);
        host.plain_library(&format!("{folder}/vdpau"), "libvdpau_nvidia", VERSION, &[".so.1"]);
        host.file(&format!("{folder}/libnvidia-container.so.1"), "");
    }
    host
}

#[test]
fn driver_whose_names_are_all_plain_files_is_found_with_all_of_them() {
    let host = mounted();
    assert_eq!(host.driver().version().unwrap(), VERSION);
    let mut found = names(&host.driver());
    found.sort();
    assert_eq!(found, NAMES);
}

#[test]
fn driver_whose_library_bears_no_version_takes_it_from_libcuda_beside_it() {
    let host = Host::empty();
    host.file("usr/lib64/libnvidia-ml.so.1", "");
    host.library("usr/lib64", "libcuda", VERSION, &["1"]);
    assert_eq!(host.driver().version().unwrap(), VERSION);
    let mut found = names(&host.driver());
    found.sort();
    let expected =
        ["/libcuda.so", "/libcuda.so.1", "/libcuda.so.580.95.05", "/libnvidia-ml.so", "/libnvidia-ml.so.1"];
    assert_eq!(found, expected);
}

#[test]
fn driver_whose_version_nothing_tells_is_an_error_with_path_and_hint() {
    let host = Host::empty();
    host.file("usr/lib64/libnvidia-ml.so.1", "");
    host.file("usr/lib64/libcuda.so.1", "");
    let error = host.driver().files().unwrap_err();
    assert!(matches!(error, FilesError::NoVersion(_)), "{error:?}");
    let (text, path) = (error.to_string(), host.local("usr/lib64/libnvidia-ml.so.1").to_string());
    assert!(text.contains(&path) && text.contains("neither libnvidia-ml.so.VERSION"), "{text}");
}

#[test]
fn driver_with_files_of_two_versions_and_no_link_is_an_error_that_names_both() {
    let host = mounted();
    host.file("usr/lib64/libnvidia-ml.so.470.57.02", "");
    let error = host.driver().version().unwrap_err().to_string();
    assert!(error.contains("470.57.02, 580.95.05"), "{error}");
}

#[test]
fn library_that_cannot_be_looked_at_is_an_error_and_not_left_out() {
    let host = Host::with_driver("usr/lib64");
    host.link("libnvidia-a.so.1", "usr/lib64/libnvidia-b.so.1");
    host.link("libnvidia-b.so.1", "usr/lib64/libnvidia-a.so.1");
    let error = host.driver().libraries().unwrap_err();
    assert!(error.to_string().contains("usr/lib64/libnvidia-a.so.1"), "{error}");
}

#[test]
fn name_that_stands_in_two_folders_leads_to_the_first_in_search_order() {
    let host = Host::with_driver("usr/lib/x86_64-linux-gnu");
    host.library("usr/lib64", "libnvidia-egl-wayland", "1.1.13", &["1"]);
    let holders: Vec<_> = host
        .driver()
        .libraries()
        .unwrap()
        .into_iter()
        .filter(|library| library.names.contains("libnvidia-egl-wayland.so.1"))
        .map(|library| library.host)
        .collect();
    assert_eq!(holders, [host_path("/usr/lib64/libnvidia-egl-wayland.so.1.1.13")]);
}

#[test]
fn driver_folder_that_cannot_be_looked_at_is_told_beside_the_missing_library() {
    let host = Host::empty();
    host.link("lib64", "usr/lib64");
    let error = host.driver().find_nvml().unwrap_err();
    assert_eq!((error.searched.len(), error.unreadable.len()), (6, 1));
    assert!(error.to_string().contains("too many links"), "{error}");
}

#[test]
fn driver_binaries_are_those_for_containers_and_no_others() {
    let host = Host::with_driver("usr/lib64");
    host.file("usr/bin/nvidia-persistenced-real", "");
    host.link("nvidia-persistenced-real", "usr/bin/nvidia-persistenced");
    let found: Vec<_> =
        host.driver().binaries().into_iter().map(|binary| (binary.name, binary.host.to_string())).collect();
    let expected =
        [("nvidia-persistenced", "/usr/bin/nvidia-persistenced-real"), ("nvidia-smi", "/usr/bin/nvidia-smi")];
    assert_eq!(found, expected.map(|(name, path)| (name.to_owned(), path.to_owned())));
}
