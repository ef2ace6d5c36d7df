//! Host paths, local paths, and links below a root.

use node_host::{HostPath, HostRoot, LocalPath};
use proptest::prelude::*;

use crate::fixture::{Host, host_path};

#[test]
fn host_path_that_is_relative_or_climbs_is_refused_with_the_value() {
    for text in ["", "dev/nvidia0", "/a/../b", "/..", "/a\0b"] {
        let error = HostPath::new(text).unwrap_err().to_string();
        assert!(error.contains(&format!("{text:?}")), "{error}");
    }
}

#[test]
fn host_path_with_needless_slashes_and_dots_is_the_same_as_without() {
    assert_eq!(host_path("//dev/./nvidia0/"), host_path("/dev/nvidia0"));
    assert_eq!(host_path("/").as_str(), "/");
}

#[test]
fn host_path_below_another_counts_whole_names() {
    assert_eq!(host_path("/run/nvidia/driver").below(&host_path("/run/nvidia")), Some("driver"));
    assert_eq!(host_path("/run/nvidia-old").below(&host_path("/run/nvidia")), None);
    assert_eq!(host_path("/run").below(&HostPath::root()), Some("run"));
}

#[test]
fn host_root_in_a_container_converts_both_ways() {
    let host = HostRoot::new("/host");
    let path = host_path("/var/run/cdi");
    assert_eq!(host.local(&path), LocalPath::new("/host/var/run/cdi"));
    assert_eq!(host.host(&LocalPath::new("/host/var/run/cdi")), Some(path));
}

#[test]
fn host_root_asked_for_a_path_outside_has_no_name_for_it() {
    let host = HostRoot::new("/host");
    for path in ["/etc", "/hostile", "/host/../etc", "host/etc"] {
        assert_eq!(host.host(&LocalPath::new(path)), None, "{path}");
    }
}

#[test]
fn root_resolves_an_absolute_link_below_itself() {
    let host = Host::empty();
    host.file("usr/lib64/libcuda.so.1", "");
    host.link("/usr/lib64", "lib64");
    let found = host.root().as_root().resolve("lib64/libcuda.so.1").unwrap();
    assert_eq!(found.to_str(), Some("usr/lib64/libcuda.so.1"));
}

#[test]
fn look_that_remembers_folders_finds_what_any_other_finds_and_believes_what_it_saw() {
    let host = Host::empty();
    host.file("usr/lib64/libcuda.so.1", "");
    host.link("/usr/lib64", "lib64");
    let (root, look) = (host.root(), host.root().remembering());
    let paths =
        ["lib64/libcuda.so.1", "usr/lib64/../lib64", "usr/lib64/libcuda.so.1/x", "usr/lib/x", "lib64/x"];
    for path in [paths, paths].concat() {
        let resolve = |root: &HostRoot| root.as_root().resolve(path).map_err(|error| error.is_missing());
        assert_eq!(resolve(&look), resolve(&root), "{path}");
    }
    host.file("usr/lib/x", "");
    assert!(look.as_root().resolve("usr/lib/x").is_err());
    assert!(root.remembering().as_root().resolve("usr/lib/x").is_ok());
}

#[test]
fn host_path_behind_an_absolute_link_is_found_below_the_host_root() {
    let host = Host::empty();
    host.dir("run");
    host.link("/run", "var/run");
    let local = |inside: &str| LocalPath::new(host.path(inside));
    let resolved = |path: &str| host.root().resolved(&host_path(path));
    assert_eq!(resolved("/var/run/cdi"), local("run/cdi"), "not made yet");
    host.dir("run/cdi");
    assert_eq!(resolved("/var/run/cdi"), local("run/cdi"));
    assert_eq!(resolved("/var/lib/kubelet/device-plugins"), local("var/lib/kubelet/device-plugins"));
    host.link("/data/kubelet", "var/lib/kubelet");
    assert_eq!(resolved("/var/lib/kubelet/device-plugins"), local("data/kubelet/device-plugins"));
}

#[test]
fn host_path_behind_links_in_a_circle_is_taken_as_it_stands() {
    let host = Host::empty();
    host.link("b", "a");
    host.link("a", "b");
    assert_eq!(host.root().resolved(&host_path("/a/x")), LocalPath::new(host.path("a/x")));
}

#[test]
fn folder_outside_the_host_root_is_no_root_and_has_the_hosts_name_only_if_mounted_alike() {
    let host = HostRoot::new("/host");
    assert_eq!(host.root_at(LocalPath::new("/run/nvidia/driver")), None);
    let root = host.root_at(LocalPath::new("/host/run/nvidia/driver")).unwrap();
    assert_eq!(root.host(), &host_path("/run/nvidia/driver"));
    assert_eq!(host.host_or_same(&LocalPath::new("/var/run/cdi")), Some(host_path("/var/run/cdi")));
    assert_eq!(host.host_or_same(&LocalPath::new("/host/var/run/cdi")), Some(host_path("/var/run/cdi")));
    assert_eq!(host.host_or_same(&LocalPath::new("cdi")), None);
}

#[test]
fn root_given_a_link_that_climbs_out_stays_inside() {
    let host = Host::empty();
    host.file("etc/passwd", "inside");
    host.link("../../../../../../../../etc/passwd", "usr/lib64/libcuda.so.1");
    let found = host.root().as_root().resolve("usr/lib64/libcuda.so.1").unwrap();
    assert_eq!(found.to_str(), Some("etc/passwd"));
}

#[test]
fn root_given_links_in_a_circle_gives_up() {
    let host = Host::empty();
    host.link("b", "a");
    host.link("a", "b");
    let error = host.root().as_root().resolve("a").unwrap_err();
    assert!(!error.is_missing(), "{error}");
}

#[test]
fn root_given_a_path_through_a_file_says_that_nothing_is_there() {
    let host = Host::empty();
    host.file("etc/passwd", "");
    assert!(host.root().as_root().resolve("etc/passwd/x").unwrap_err().is_missing());
    assert!(host.root().as_root().resolve("etc/passwd/../passwd").is_err());
}

proptest! {
    #[test]
    fn root_resolving_any_links_never_leaves_itself(targets in prop::collection::vec("(/|\\.\\./|\\./|[abc]/){0,6}[abc]?", 3)) {
        let host = Host::empty();
        for (name, target) in ["a", "b", "d/c"].iter().zip(&targets) {
            if target.is_empty() { host.file(name, ""); } else { host.link(target, name); }
        }
        for start in ["a", "b", "d/c", "a/b/../d", "../../d/c"] {
            if let Ok(found) = host.root().as_root().resolve(start) {
                prop_assert!(found.is_relative() && !found.to_string_lossy().contains(".."), "{:?}", found);
                let real = host.path(".").join(&found).canonicalize().unwrap();
                prop_assert!(real.starts_with(host.path(".").canonicalize().unwrap()), "{:?}", real);
            }
        }
    }

    #[test]
    fn host_path_made_of_any_text_survives_the_round_trip_through_a_root(text in "/[a-z./]{0,30}") {
        if let Ok(path) = HostPath::new(text) {
            let root = HostRoot::new("/host");
            prop_assert_eq!(root.host(&root.local(&path)), Some(path));
        }
    }
}
