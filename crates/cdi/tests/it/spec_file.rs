//! The file in a CDI folder.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use cdi::{Spec, WriteError, write};
use node_host::LocalPath;

use crate::fixture::{dgx_a100, driver, full_gpus, nodes};

fn spec() -> Spec {
    full_gpus(&dgx_a100(), &driver(""), &nodes("/dev")).unwrap().spec
}

#[test]
fn spec_is_written_readable_for_all_under_the_name_of_its_kind() {
    let folder = tempfile::tempdir().unwrap();
    let dir = LocalPath::new(folder.path().join("var/run/cdi"));
    let path = write(&dir, &spec()).unwrap();
    assert_eq!(path, dir.join("gantry.dev-gpu.json"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(Spec::parse(&fs::read(&path).unwrap()).unwrap(), spec());
}

#[test]
fn spec_written_again_replaces_its_own_file_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let dir = LocalPath::new(folder.path());
    fs::write(folder.path().join("nvidia.yaml"), "not ours").unwrap();
    write(&dir, &spec()).unwrap();
    let mut fewer = spec();
    fewer.devices.truncate(1);
    let path = write(&dir, &fewer).unwrap();
    assert_eq!(Spec::parse(&fs::read(path).unwrap()).unwrap(), fewer);
    assert_eq!(fs::read_to_string(folder.path().join("nvidia.yaml")).unwrap(), "not ours");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn spec_that_no_runtime_would_take_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let dir = LocalPath::new(folder.path());
    let path = write(&dir, &spec()).unwrap();
    let mut empty = spec();
    empty.devices.clear();
    assert!(matches!(write(&dir, &empty), Err(WriteError::Nonsense(_))));
    assert_eq!(Spec::parse(&fs::read(path).unwrap()).unwrap(), spec());
}

#[test]
fn folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("cdi"), "a file").unwrap();
    let dir = LocalPath::new(folder.path().join("cdi"));
    let error = write(&dir, &spec()).unwrap_err().to_string();
    assert!(error.contains(&dir.to_string()), "{error}");
}
