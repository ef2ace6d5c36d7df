//! Config files: what is accepted, what is refused with which words, and the reference.
#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;

use gpu_config::{
    Checked, ComputeCapability, DeviceListStrategy, DeviceRef, Devices, GpuSelector, Memory, MigStrategy,
    Mode, SharedPolicy, read,
};
use gpu_health::xid::XidClass;
use proptest::prelude::*;

mod bad_input;

const DIGITS: &str = "4cf8db2d-06c0-7d70-1a51-e59b25b2c16c";

fn strict(text: &str) -> Checked {
    read("config.yaml", text, Mode::Strict).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// What is said of a file that is refused.
fn refused(text: &str) -> String {
    read("config.yaml", text, Mode::Strict).expect_err(text).to_string()
}

#[test]
fn file_with_every_key_of_nvidias_is_accepted_unchanged() {
    let checked = strict(
        r#"
version: v1
flags:
  migStrategy: mixed
  failOnInitError: true
  nvidiaDriverRoot: /run/nvidia/driver
  nvidiaDevRoot: /
  mpsRoot: ""
  deviceDiscoveryStrategy: auto
  gdrcopyEnabled: false
  gdsEnabled: true
  mofedEnabled: false
  useNodeFeatureAPI: true
  plugin:
    containerDriverRoot: /driver-root
    passDeviceSpecs: false
    deviceListStrategy: [envvar, cdi-cri]
    deviceIDStrategy: uuid
    cdiAnnotationPrefix: cdi.k8s.io/
    nvidiaCTKPath: /usr/bin/nvidia-ctk
    sharedDevicesAllocationPolicy: packed
  gfd:
    oneshot: false
    noTimestamp: false
    sleepInterval: 60s
    outputFile: ""
    machineTypeFile: /sys/class/dmi/id/product_name
resources:
  gpus: [{pattern: "*A100*", name: a100}]
  mig: [{pattern: 1g.5gb, name: mig-small}]
sharing:
  timeSlicing:
    renameByDefault: true
    failRequestsGreaterThanOne: true
    resources:
      - {name: gpu, replicas: 4, devices: all}
      - {name: nvidia.com/mig-1g.5gb, rename: nvidia.com/tiny, replicas: 2, devices: ["0:1", 3]}
imex: {channelIDs: [0], required: true}
"#,
    );
    assert_eq!(checked.warnings, []);
    let config = checked.config;
    assert_eq!(config.flags.mig_strategy, Some(MigStrategy::Mixed));
    let strategies = config.flags.plugin.device_list_strategies.unwrap();
    assert_eq!(strategies, [DeviceListStrategy::Envvar, DeviceListStrategy::CdiCri]);
    assert_eq!(config.flags.plugin.shared_policy, Some(SharedPolicy::Packed));
    assert_eq!(config.gpu_rules[0].resource.as_str(), "nvidia.com/a100");
    let sharing = config.time_slicing.unwrap();
    assert!(sharing.fail_requests_greater_than_one);
    assert_eq!(sharing.resources[0].shared_as.as_str(), "nvidia.com/gpu.shared");
    assert_eq!(sharing.resources[1].shared_as.as_str(), "nvidia.com/tiny");
    assert_eq!(sharing.resources[1].devices, Devices::These(vec![DeviceRef::Mig(0, 1), DeviceRef::Gpu(3)]));
    assert!(config.imex.channel && config.imex.required);
}

#[test]
fn what_is_ours_chooses_gpus_by_name_memory_and_capability() {
    let config = strict(&format!(
        r#"
devices: {{include: [0, GPU-{DIGITS}, "0000:07:00.0", "*A100*"], exclude: ["*Display*"]}}
resources:
  gpus:
    - {{name: gpu-big, memory: {{min: 40GiB}}, computeCapability: {{min: "8.0", max: "9.0"}}}}
"#
    ))
    .config;
    assert_eq!(config.devices.include.unwrap()[0], GpuSelector::Index(0));
    assert_eq!(config.devices.exclude.len(), 1);
    let rule = &config.gpu_rules[0];
    assert!(rule.product.fits("anything") && rule.memory.contains(&Memory(80 << 30)));
    assert!(!rule.memory.contains(&Memory(39 << 30)));
    assert!(!rule.compute_capability.contains(&ComputeCapability(10, 0)));
}

#[test]
fn xids_have_the_classes_that_the_file_gives_them() {
    let config = strict("health: {xids: [{xid: 109, class: critical}, {xid: 63, class: ask-driver}]}").config;
    let expected = [(63, XidClass::AskDriver), (109, XidClass::Critical)];
    assert_eq!(config.xids.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn empty_file_says_nothing() {
    for text in ["", "# nothing\n\n", "version:\n", "{}", "sharing:\nflags: null\n", "version: \"\"\n"] {
        assert_eq!(strict(text), strict("{version: v1}"), "{text:?}");
    }
}

#[test]
fn wrong_file_is_refused_with_place_value_and_hint() {
    for (text, parts) in [
        ("version: v2", &["line 1, version: `v2`: unknown version; write v1"][..]),
        (
            "flags:\n  renameByDefault: true",
            &["line 2, flags.renameByDefault: ", "belongs under `sharing.timeSlicing`"],
        ),
        ("flags:\n  migStrateg: mixed", &["line 2, flags.migStrateg: ", "did you mean `migStrategy`?"]),
        ("colour: red", &["line 1, colour: no such key; there are ", "sharing"]),
        ("flags: {migStrategy: some}", &["line 1", "migStrategy", "`some`", "none, single, mixed"]),
        ("flags: {migStrategy: none, migStrategy: single}", &["line 1", "duplicate", "migStrategy"]),
        ("flags: {plugin: {deviceListStrategy: \"envvar,cdi\"}}", &["deviceListStrategy"]),
        ("flags: {plugin: {deviceListStrategy: []}}", &["deviceListStrategy: names no strategy"]),
        ("flags: {nvidiaDriverRoot: run}", &["nvidiaDriverRoot: `run`: expected an absolute path"]),
        ("flags: {deviceDiscoveryStrategy: tegra}", &["`tegra`: Tegra machines are not supported"]),
        ("flags: {gfd: {sleepInterval: 5}}", &["sleepInterval: `5`: expected a time span such as 60s"]),
        ("sharing: {mps: {resources: []}}", &["sharing.mps: MPS is not supported"]),
        ("sharing: {timeSlicing: {}}", &["no resources specified"]),
        (
            "sharing: {timeSlicing: {resources: [{name: gpu, replicas: 1}]}}",
            &["`1`: number of replicas must be >= 2"],
        ),
        ("sharing: {timeSlicing: {resources: [{name: gpu, replicas: -4}]}}", &["`-4`"]),
        ("sharing: {timeSlicing: {resources: [{name: gpu}]}}", &["resources[0].replicas: is missing"]),
        ("sharing: {timeSlicing: {resources: [{replicas: 2}]}}", &["resources[0].name: is missing"]),
        (
            "sharing: {timeSlicing: {resources: [{name: a/b/c, replicas: 2}]}}",
            &["resources[0].name: ", "a/b/c"],
        ),
        (
            "sharing: {timeSlicing: {resources: [{name: gpu, replicas: 2, devices: 0}]}}",
            &["devices", "from 1 up"],
        ),
        (
            "sharing: {timeSlicing: {resources: [{name: gpu, replicas: 2, devices: [x]}]}}",
            &["names no device"],
        ),
        (
            "sharing: {timeSlicing: {resources: [{name: gpu, replicas: 2}, {name: gpu, replicas: 3, devices: [0]}]}}",
            &["resources[1]: shares devices that entry 0 shares already"],
        ),
        ("resources: {gpus: [{name: x}]}", &["resources.gpus[0].pattern: is missing"]),
        ("resources: {gpus: [{name: x, memory: {min: 40GB}}]}", &["memory.min: `40GB`: ", "40GiB"]),
        ("resources: {gpus: [{name: x, memory: {min: 40GiB, max: 4GiB}}]}", &["min is above max"]),
        ("devices: {include: [\"GPU-1\"]}", &["devices.include[0]: `GPU-1` selects no GPU"]),
        ("devices: {include: []}", &["no GPU would be offered"]),
        ("health: {xids: [{xid: 0, class: critical}]}", &["health.xids[0].xid: `0`: ", "from 1"]),
        ("health: {xids: [{xid: 9}]}", &["health.xids[0].class: is missing; write application"]),
        ("health: {xids: [{xid: 9, class: fatal}]}", &["class", "`fatal`", "ask-driver-first"]),
        (
            "health: {xids: [{xid: 9, class: notice}, {xid: 9, class: critical}]}",
            &["health.xids[1].xid: `9`: has a class already"],
        ),
        ("health: {xid: []}", &["health.xid: ", "belongs under `health.xids[]`"]),
        ("gpuManagement: -1", &["gpuManagement: `-1`: expected a number of daemons from 0 to 1024"]),
        ("gpuManagement: 4000000000000", &["from 0 to 1024"]),
        (
            "resources: {mig: [{pattern: '*', name: gantry.dev/gpu-management}]}",
            &["resources.mig[0].name", "`gpuManagement` offers"],
        ),
        ("imex: {channelIDs: [1]}", &["channelIDs: `[1]`: only [] and [0] can be"]),
        ("imex: {required: true}", &["nothing is required without a channel"]),
        ("[1, 2]", &["line 1"]),
        ("a: [", &["config.yaml is no valid config"]),
    ] {
        let said = refused(text);
        for part in parts {
            assert!(said.contains(part), "`{part}` is missing from\n{said}\nfor {text}");
        }
    }
}

#[test]
fn everything_wrong_is_told_at_once() {
    let said = refused("version: v3\nflags: {colour: red}\nimex: {channelIDs: [7]}\n");
    assert_eq!(said.lines().count(), 4, "{said}");
}

#[test]
fn compat_keeps_what_nvidias_plugin_does_and_warns_of_what_it_drops() {
    let text = r#"
colour: red
devices: {exclude: [0]}
gpuManagement: 4
health: {xids: [{xid: 31, class: critical}]}
resources: {gpus: [{pattern: "*", name: all}]}
sharing:
  mps: {resources: [{name: gpu, replicas: 2}]}
  timeSlicing: {resources: [{name: gpu, rename: other, devices: [0], replicas: 2}]}
"#;
    let Checked { config, warnings } = read("config.yaml", text, Mode::Compat).unwrap();
    let paths: Vec<&str> = warnings.iter().map(|warning| warning.path.as_str()).collect();
    let shared = "sharing.timeSlicing.resources[0]";
    let (rename, devices) = (format!("{shared}.rename"), format!("{shared}.devices"));
    assert_eq!(
        paths,
        ["sharing.mps", "resources", "devices", &rename, &devices, "health.xids", "gpuManagement", "colour"]
    );
    assert_eq!((config.gpu_rules, config.xids.len(), config.gpu_management), (vec![], 0, None));
    let shared = &config.time_slicing.unwrap().resources[0];
    assert_eq!((shared.shared_as.as_str(), &shared.devices), ("nvidia.com/gpu", &Devices::All));
    assert!(read("config.yaml", "version: v2", Mode::Compat).is_err(), "an error there too");
}

#[test]
fn reference_is_written_from_the_types() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    golden::assert_golden(&docs.join("config.md"), &gpu_config::markdown());
    let schema = serde_json::to_string_pretty(&gpu_config::json_schema()).unwrap() + "\n";
    golden::assert_golden(&docs.join("config.schema.json"), &schema);
}

proptest! {
    #[test]
    fn reader_given_any_text_never_panics(text in "[ -~\n]{0,200}") {
        let _ = read("config.yaml", &text, Mode::Strict);
    }

    #[test]
    fn strict_config_is_the_compat_one_where_neither_finds_anything(replicas in 2u32..64000, by_default: bool) {
        let text = format!(
            "sharing: {{timeSlicing: {{renameByDefault: {by_default}, resources: [{{name: gpu, replicas: {replicas}}}]}}}}"
        );
        let [strict, compat] = [Mode::Strict, Mode::Compat].map(|mode| read("f", &text, mode).unwrap());
        prop_assert_eq!(&strict, &compat);
        prop_assert_eq!(strict.config.time_slicing.unwrap().resources[0].replicas, replicas);
    }
}
