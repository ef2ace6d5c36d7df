//! The generated code is what `proto/` says.

use crate::generator;

#[test]
fn generated_code_regenerated_is_unchanged() {
    let stale = generator::stale().unwrap();
    assert!(stale.is_empty(), "differs from proto/, run `cargo xtask gen`: {stale:?}");
}

#[test]
fn file_that_is_absent_altered_or_of_no_protocol_is_stale() {
    let dir = tempfile::tempdir().unwrap();
    let [same, altered, absent, extra] =
        ["same.rs", "altered.rs", "absent.rs", "extra.rs"].map(|name| dir.path().join(name));
    let fresh = [&same, &altered, &absent].map(|path| (path.clone(), "fn f() {}".to_owned())).into();
    std::fs::write(&same, "fn f() {}").unwrap();
    std::fs::write(&altered, "fn g() {}").unwrap();
    std::fs::write(&extra, "").unwrap();
    assert_eq!(generator::differing(&fresh, dir.path()).unwrap(), [absent, altered, extra]);
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
