//! The generated code is what `proto/` says.

use crate::generator;

#[test]
fn generated_code_regenerated_is_unchanged() {
    let stale = generator::stale().unwrap();
    assert!(stale.is_empty(), "differs from proto/, run `cargo xtask gen`: {stale:?}");
}

#[test]
fn descriptors_written_name_every_service() {
    let set = generator::descriptors().unwrap();
    let services: Vec<String> = set
        .file
        .iter()
        .flat_map(|file| file.service.iter().map(|service| format!("{}.{}", file.package(), service.name())))
        .collect();
    assert_eq!(
        services,
        [
            "v1beta1.Registration",
            "v1beta1.DevicePlugin",
            "pluginregistration.Registration",
            "v1.PodResourcesLister",
        ]
    );
}
