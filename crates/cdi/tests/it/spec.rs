//! The model: what is read, what is refused, and which version knows what.

use cdi::{Kind, ParseError, Spec, Version, qualified_name};
use proptest::prelude::*;
use serde_json::{Value, json};

fn minimal() -> Value {
    json!({
        "cdiVersion": "1.0.0",
        "kind": "vendor.com/device",
        "devices": [{"name": "dev0", "containerEdits": {"env": ["A=B"]}}]
    })
}

/// A spec with every field of the format up to 1.0.0.
fn full() -> Value {
    json!({
        "cdiVersion": "1.0.0",
        "kind": "vendor.com/device.v2",
        "annotations": {"a": "b"},
        "devices": [{
            "name": "0:1",
            "annotations": {"c": "d"},
            "containerEdits": {
                "deviceNodes": [{
                    "path": "/dev/card0", "hostPath": "/dev/card1", "type": "c", "major": 25, "minor": 0,
                    "fileMode": 384, "permissions": "rw", "uid": 1000, "gid": 1000
                }]
            }
        }],
        "containerEdits": {
            "env": ["FOO=VALID", "EMPTY="],
            "deviceNodes": [{"path": "/dev/loop-control", "permissions": "none"}],
            "hooks": [{
                "hookName": "createContainer", "path": "/bin/hook", "args": ["hook", "arg"], "env": ["A=B"], "timeout": 5
            }],
            "mounts": [{
                "hostPath": "/bin/tool", "containerPath": "/bin/tool", "options": ["ro"], "type": "none"
            }],
            "intelRdt": {
                "closID": "guaranteed", "l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=70",
                "enableCMT": true, "enableMBM": true
            },
            "additionalGids": [5, 6]
        }
    })
}

fn parse(document: &Value) -> Result<Spec, ParseError> {
    Spec::parse(document.to_string().as_bytes())
}

fn refusal(change: impl FnOnce(&mut Value)) -> String {
    let mut document = minimal();
    change(&mut document);
    match parse(&document).unwrap_err() {
        ParseError::Json(error) => error.to_string(),
        ParseError::Nonsense(error) => error.to_string(),
    }
}

#[test]
fn spec_with_every_field_reads_and_writes_without_loss() {
    let spec = parse(&full()).unwrap();
    assert_eq!(serde_json::to_value(&spec).unwrap(), full());
}

#[test]
fn spec_with_a_field_that_the_format_lacks_is_refused() {
    let error = refusal(|document| document["devices"][0]["containerEdits"]["netDevices"] = json!([]));
    assert!(error.contains("netDevices"), "{error}");
}

#[test]
fn spec_that_means_nothing_is_refused_with_place_and_value() {
    let cases: Vec<(&str, Value, &str)> = vec![
        ("/cdiVersion", json!("0.9.0"), "\"0.9.0\" is not a CDI version"),
        ("/kind", json!("gpu"), "expected VENDOR/CLASS"),
        ("/devices", json!([]), "devices is \"[]\": expected at least one device"),
        ("/devices/0/name", json!("gpu 0"), "devices[0].name is \"gpu 0\""),
        ("/devices/0/name", json!(""), "devices[0].name is \"\""),
        ("/devices/0/containerEdits", json!({}), "devices[0].containerEdits is \"{}\""),
        ("/devices/0/containerEdits/env", json!(["=x"]), "devices[0].containerEdits.env[0] is \"=x\""),
        (
            "/devices/0/containerEdits",
            json!({"deviceNodes": [{"path": "dev/x"}]}),
            "deviceNodes[0].path is \"dev/x\"",
        ),
        (
            "/devices/0/containerEdits",
            json!({"deviceNodes": [{"path": "/dev/x", "hostPath": "x"}]}),
            "\"x\" is not a path on the host",
        ),
        (
            "/devices/0/containerEdits",
            json!({"deviceNodes": [{"path": "/dev/x", "type": "d"}]}),
            "deviceNodes[0].type is \"d\"",
        ),
        (
            "/devices/0/containerEdits",
            json!({"deviceNodes": [{"path": "/dev/x", "minor": -1}]}),
            "deviceNodes[0].minor is \"-1\"",
        ),
        (
            "/devices/0/containerEdits",
            json!({"deviceNodes": [{"path": "/dev/x", "permissions": "rx"}]}),
            "deviceNodes[0].permissions is \"rx\"",
        ),
        (
            "/devices/0/containerEdits",
            json!({"mounts": [{"hostPath": "/a", "containerPath": "b"}]}),
            "mounts[0].containerPath is \"b\"",
        ),
        (
            "/devices/0/containerEdits",
            json!({"hooks": [{"hookName": "later", "path": "/a"}]}),
            "hooks[0].hookName is \"later\"",
        ),
        (
            "/devices/0/containerEdits",
            json!({"hooks": [{"hookName": "poststop", "path": "/a", "timeout": 0}]}),
            "hooks[0].timeout is \"0\"",
        ),
        ("/devices/0/containerEdits", json!({"intelRdt": {"closID": ".."}}), "intelRdt.closID is \"..\""),
    ];
    for (place, value, expected) in cases {
        let error = refusal(|document| *document.pointer_mut(place).unwrap() = value);
        assert!(error.contains(expected), "{place}: {error}");
    }
}

#[test]
fn spec_with_two_devices_of_one_name_is_refused() {
    let error = refusal(|document| {
        let device = document["devices"][0].clone();
        document["devices"].as_array_mut().unwrap().push(device);
    });
    assert_eq!(error, "devices[1].name is \"dev0\": another device has this name");
}

#[test]
fn lowest_version_is_that_of_the_newest_thing_used() {
    let cases: Vec<(&str, Value, Version)> = vec![
        ("/kind", json!("vendor.com/device"), Version::V0_3_0),
        ("/devices/0/containerEdits", json!({"deviceNodes": [{"path": "/dev/x"}]}), Version::V0_3_0),
        (
            "/devices/0/containerEdits",
            json!({"mounts": [{"hostPath": "/a", "containerPath": "/a", "type": "bind"}]}),
            Version::V0_4_0,
        ),
        (
            "/devices/0/containerEdits",
            json!({"deviceNodes": [{"path": "/dev/x", "hostPath": "/dev/y"}]}),
            Version::V0_5_0,
        ),
        ("/devices/0/name", json!("0"), Version::V0_5_0),
        ("/kind", json!("vendor.com/device.v2"), Version::V0_6_0),
        ("/devices/0/annotations", json!({"a": "b"}), Version::V0_6_0),
        ("/annotations", json!({"a": "b"}), Version::V0_6_0),
        ("/devices/0/containerEdits", json!({"additionalGids": [5]}), Version::V0_7_0),
        ("/containerEdits", json!({"intelRdt": {"closID": "x"}}), Version::V0_7_0),
    ];
    for (place, value, expected) in cases {
        let mut document = minimal();
        let (parent, key) = place.rsplit_once('/').unwrap();
        document.pointer_mut(parent).unwrap()[key] = value;
        assert_eq!(parse(&document).unwrap().lowest_version(), expected, "{document}");
    }
}

#[test]
fn spec_that_states_less_than_it_uses_is_refused() {
    let error = refusal(|document| {
        document["cdiVersion"] = json!("0.5.0");
        document["annotations"] = json!({"a": "b"});
    });
    assert_eq!(error, "cdiVersion is \"0.5.0\": this spec uses what came with 0.6.0");
}

#[test]
fn kind_that_a_runtime_refuses_is_refused() {
    let long = format!("vendor.com/{}", "c".repeat(64));
    for kind in [
        "",
        "/",
        "gpu",
        "/gpu",
        "vendor.com/",
        "vendor.com/a/b",
        "vendor.com/1gpu",
        "1vendor.com/gpu",
        "vendor.com/gpu-",
        &long,
    ] {
        assert!(kind.parse::<Kind>().is_err(), "{kind}");
    }
    let kind: Kind = "gantry.dev/gpu".parse().unwrap();
    assert_eq!((kind.vendor(), kind.class()), ("gantry.dev", "gpu"));
    assert_eq!(qualified_name(&kind, "all"), "gantry.dev/gpu=all");
}

proptest! {
    #[test]
    fn parser_given_any_bytes_never_panics(text: Vec<u8>) {
        let _ = Spec::parse(&text);
    }

    #[test]
    fn parser_given_any_strings_in_a_spec_never_panics_and_keeps_what_it_takes(name: String, variable: String, path: String) {
        let mut document = minimal();
        document["devices"][0]["name"] = name.into();
        document["devices"][0]["containerEdits"]["env"][0] = variable.into();
        document["devices"][0]["containerEdits"]["deviceNodes"] = json!([{"path": path}]);
        if let Ok(spec) = parse(&document) {
            prop_assert_eq!(serde_json::to_value(&spec).unwrap(), document);
        }
    }
}
