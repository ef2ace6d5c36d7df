//! The folder of driver libraries for a worker.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::time::Duration;

use node_host::stage::{self, StageError};
use node_host::{DriverRoot, HostPath, LocalPath};
use rustix::fs::{FlockOperation, flock};

use crate::fixture::{Host, Part, VERSION};

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
    assert_eq!((&first.folder, &first.nvml, &first.version), (&second.folder, &second.nvml, &second.version));
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
    let first = stage::libraries(&old.driver(), &parent).unwrap().folder;
    let second = stage::libraries(&new.driver(), &parent).unwrap();
    assert_ne!(first, second.folder);
    let left: Vec<_> = entries(&parent).into_iter().filter(|name| name.starts_with("driver-")).collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(second.nvml.as_path().exists());
}

#[test]
fn stage_in_use_stays_until_its_last_user_has_gone() {
    let old = Host::with_driver("usr/lib64");
    let new = Host::with_driver("usr/lib/x86_64-linux-gnu");
    let parent = old.local("run/gantry/driver");
    let first = stage::libraries(&old.driver(), &parent).unwrap();
    let user = first.clone();
    let folder = first.folder.clone();
    drop(first);
    stage::libraries(&new.driver(), &parent).unwrap();
    assert_eq!(fs::read_to_string(&user.nvml).unwrap(), "libnvidia-ml.so.580.95.05");
    drop(user);
    stage::libraries(&new.driver(), &parent).unwrap();
    assert!(!folder.as_path().exists());
}

#[test]
fn stage_of_another_process_in_use_is_not_removed_and_goes_when_that_process_is_killed() {
    const CHILD: &str = "NODE_HOST_TEST_STAGE_USER";
    let new = Host::with_driver("usr/lib/x86_64-linux-gnu");
    if let Ok(root) = std::env::var(CHILD) {
        let root = LocalPath::new(root);
        let driver = DriverRoot::at(HostPath::root(), root.clone());
        let _held = stage::libraries(&driver, &root.join("run/gantry/driver")).unwrap();
        fs::write(root.join("ready"), "").unwrap();
        // Until it is killed.
        std::io::stdin().read_line(&mut String::new()).unwrap();
        return;
    }
    let old = Host::with_driver("usr/lib64");
    let parent = old.local("run/gantry/driver");
    let test = "staging::stage_of_another_process_in_use_is_not_removed_and_goes_when_that_process_is_killed";
    let mut user = Part::start(test, CHILD, old.path("."));
    user.wait_until(|| old.path("ready").exists());
    let stages =
        || entries(&parent).into_iter().filter(|name| name.starts_with("driver-")).collect::<Vec<_>>();
    stage::libraries(&new.driver(), &parent).unwrap();
    assert_eq!(stages().len(), 2, "{:?}", stages());
    drop(user);
    stage::libraries(&new.driver(), &parent).unwrap();
    assert_eq!(stages().len(), 1, "{:?}", stages());
}

#[test]
fn stagers_at_the_same_time_all_get_a_whole_stage() {
    let hosts = [Host::with_driver("usr/lib64"), Host::with_driver("usr/lib/x86_64-linux-gnu")];
    let parent = hosts[0].local("run/gantry/driver");
    std::thread::scope(|scope| {
        for host in hosts.iter().chain(&hosts) {
            scope.spawn(|| {
                for _ in 0..20 {
                    let staged = stage::libraries(&host.driver(), &parent).unwrap();
                    for name in ["libnvidia-ml.so.1", "libcuda.so.1", "libvdpau_nvidia.so.1"] {
                        let link = fs::read_link(staged.folder.join(name)).unwrap();
                        assert!(link.starts_with(host.path("usr")), "{}", link.display());
                    }
                }
            });
        }
    });
}

#[test]
fn stage_whose_lock_another_holds_for_too_long_is_an_error_that_says_so() {
    let host = Host::with_driver("usr/lib64");
    let parent = host.local("run/gantry/driver");
    stage::libraries(&host.driver(), &parent).unwrap();
    let held = File::open(parent.join(".lock")).unwrap();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    let error = stage::libraries_within(&host.driver(), &parent, Duration::from_millis(20)).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, StageError::Held { .. }) && text.contains("held by another process"), "{text}");
    drop(held);
    stage::libraries(&host.driver(), &parent).unwrap();
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
