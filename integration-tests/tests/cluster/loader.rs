//! The loader of a container finds the driver's libraries, whatever distribution its image is of.

use std::path::Path;

use crate::images;
use crate::node::lock;
use crate::pod::{Order, Pod};

#[test]
fn image_with_debians_layout_loads_the_drivers_libraries() {
    loads_from(images::DEBIAN, "/usr/lib/x86_64-linux-gnu");
}

#[test]
fn image_with_rhels_search_path_loads_the_drivers_libraries() {
    loads_from(images::RHEL, "/usr/lib64");
}

#[test]
fn image_with_a_stale_cache_loads_the_drivers_libraries() {
    loads_from(images::STALE_CACHE, "/usr/lib/x86_64-linux-gnu");
}

fn loads_from(image: &str, expected: &str) {
    let node = lock();
    let pod = Pod::create(&node, &Order { image, gpus: 1, libraries: true, ..Order::default() }).unwrap();
    pod.wait_for("Succeeded").unwrap();
    let report = pod.report().unwrap();
    assert_eq!(report.libraries.len(), 2, "{report:?}");
    for (name, found) in &report.libraries {
        let folder = found.as_deref().and_then(Path::parent);
        assert_eq!(folder, Some(Path::new(expected)), "{name} of {image}: {found:?}");
    }
}
