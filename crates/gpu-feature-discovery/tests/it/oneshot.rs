//! One look at a simulated node, by the shipped program.

use std::os::unix::fs::symlink;

use crate::harness::{bare, file, labels_of, program, run, run_as};

const COUNT: &str = "nvidia.com/gpu.count";
const PRODUCT: &str = "nvidia.com/gpu.product";

#[test]
fn labels_of_shipped_nodes_are_those_of_their_gpus() {
    for (preset, product, count, family) in [
        ("dgx-a100", "NVIDIA-A100-SXM4-80GB", "8", "ampere"),
        ("dgx-h100", "NVIDIA-H100-80GB-HBM3", "8", "hopper"),
        ("t4", "Tesla-T4", "1", "turing"),
    ] {
        let node = bare().preset(preset).build().unwrap();
        let labels = labels_of(&node, &[]);
        let found = |key: &str| labels.get(key).map(String::as_str);
        assert_eq!(found(PRODUCT), Some(product), "{labels:?}");
        assert_eq!((found(COUNT), found("nvidia.com/gpu.family")), (Some(count), Some(family)), "{labels:?}");
        assert_eq!(found("nvidia.com/gpu.present"), Some("true"));
        assert_eq!(found("nvidia.com/gfd.timestamp"), None);
    }
}

#[test]
fn file_of_one_look_does_not_expire_and_says_what_standard_output_says() {
    let node = bare().build().unwrap();
    let output = format!("--output={},stdout", file(&node).display());
    let done = run(&node, &["--oneshot", "--format=plain", &output]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let text = std::fs::read(file(&node)).unwrap();
    assert_eq!(String::from_utf8_lossy(&text), String::from_utf8_lossy(&done.stdout));
    assert!(text.starts_with(b"gantry.dev/gpu."), "{}", String::from_utf8_lossy(&text));
}

#[test]
fn stand_in_for_nvidias_takes_its_flags_and_gives_none_of_our_labels() {
    let node = bare().build().unwrap();
    let theirs = node.dir().join("nvidia-gpu-feature-discovery");
    symlink(program(), &theirs).unwrap();
    let flags = ["--oneshot", "--use-node-feature-api=false", "--output-file=", "--kube-api-qps=5"];
    let done = run_as(&node, &theirs, &flags);
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(
        text.contains("nvidia.com/gfd.timestamp=") && text.contains("nvidia.com/gpu.count=8\n"),
        "{text}"
    );
    assert!(!text.contains("gantry.dev/"), "{text}");
    assert!(String::from_utf8_lossy(&done.stderr).contains("--kube-api-qps"));
    let without_driver = bare().without_driver().build().unwrap();
    assert_eq!(run_as(&without_driver, &theirs, &flags).status.code(), Some(1));
}

#[test]
fn config_file_says_what_flags_do_not() {
    let node = bare().build().unwrap();
    let config = node.dir().join("config.yaml");
    let text = "version: v1\nflags: {gfd: {noTimestamp: false}}\n\
                sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 4}]}}\n";
    std::fs::write(&config, text).unwrap();
    let labels = labels_of(&node, &[&format!("--config-file={}", config.display())]);
    assert_eq!(labels.get("nvidia.com/gpu.replicas").map(String::as_str), Some("4"), "{labels:?}");
    assert_eq!(labels.get(PRODUCT).map(String::as_str), Some("NVIDIA-A100-SXM4-80GB-SHARED"));
    assert!(labels.contains_key("nvidia.com/gfd.timestamp"));
}

#[test]
fn setting_that_cannot_work_is_refused_with_flag_value_and_hint() {
    let node = bare().build().unwrap();
    for (flags, expected) in [
        (&["--output=node"][..], &["--node-name", "NODE_NAME"][..]),
        (&["--output=nodes"], &["nodes", "expected node, nodefeature, file or stdout"]),
        (&["--output=file", "--output-file=gfd"], &["--output-file", "gfd", "absolute"]),
        (&["--output=stdout", "--sleep-interval=1ms"], &["--sleep-interval", "1ms", "1s at least"]),
        (&["--output=stdout", "--label-groups=ecc,all"], &["`all`", "mig-room"]),
        (&["--output=stdout", "--kube-api-burst=9"], &["--kube-api-burst", "leave it out"]),
        (&["--output=stdout", "--device-discovery-strategy=tegra"], &["tegra", "not supported"]),
    ] {
        let done = run(&node, &[&["--oneshot"], flags].concat());
        let told = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(2), "{flags:?}: {told}");
        assert!(expected.iter().all(|part| told.contains(part)), "{flags:?}: {told}");
    }
}
