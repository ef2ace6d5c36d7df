//! The folder of driver libraries for a worker.

use std::collections::BTreeSet;
use std::fs;

use node_host::LocalPath;
use node_host::stage::{self, StageError};

use crate::fixture::{Host, VERSION};

fn entries(folder: &LocalPath) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn stage_holds_the_driver_libraries_and_nothing_of_the_host() {
    let host = Host::with_driver("usr/lib64");
    let stage = stage::libraries(&host.driver(), &host.local("run/gantry/driver")).unwrap();
    let staged = entries(&stage.folder);
    assert!(staged.contains("libcuda.so.1") && staged.contains("libnvidia-ml.so.1"), "{staged:?}");
    assert!(
        !staged.iter().any(|name| name.starts_with("libc.so") || name.contains("container")),
        "{staged:?}"
    );
    assert_eq!(fs::read_to_string(&stage.nvml).unwrap(), "libnvidia-ml.so.580.95.05");
    assert_eq!(stage.version, VERSION);
}

#[test]
fn stage_of_the_same_driver_is_made_once() {
    let host = Host::with_driver("usr/lib64");
    let parent = host.local("run/gantry/driver");
    let first = stage::libraries(&host.driver(), &parent).unwrap();
    host.file("mark", "");
    fs::rename(host.path("mark"), first.folder.join("mark")).unwrap();
    let second = stage::libraries(&host.driver(), &parent).unwrap();
    assert_eq!(first, second);
    assert!(entries(&second.folder).contains("mark"), "the folder was made anew");
}

#[test]
fn stage_that_lost_a_library_is_made_anew() {
    let host = Host::with_driver("usr/lib64");
    let parent = host.local("run/gantry/driver");
    let first = stage::libraries(&host.driver(), &parent).unwrap();
    fs::remove_file(first.folder.join("libcuda.so.1")).unwrap();
    let second = stage::libraries(&host.driver(), &parent).unwrap();
    assert!(entries(&second.folder).contains("libcuda.so.1"));
}

#[test]
fn stages_of_an_older_driver_are_removed() {
    let old = Host::with_driver("usr/lib64");
    let new = Host::with_driver("usr/lib/x86_64-linux-gnu");
    let parent = old.local("run/gantry/driver");
    let first = stage::libraries(&old.driver(), &parent).unwrap();
    let second = stage::libraries(&new.driver(), &parent).unwrap();
    assert_ne!(first.folder, second.folder);
    let left: Vec<_> = entries(&parent).into_iter().filter(|name| name.starts_with("driver-")).collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(second.nvml.as_path().exists());
}

#[test]
fn stage_without_a_driver_says_so() {
    let host = Host::empty();
    let error = stage::libraries(&host.driver(), &host.local("run")).unwrap_err();
    assert!(
        matches!(error, StageError::Driver(_)) && error.to_string().contains("no NVIDIA driver"),
        "{error}"
    );
}
