//! The inventory and health file: its document, and everything that can be wrong with one.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use gpu_model::{DriverVersions, Gpu, GpuFailure, Health, HealthReason, Inventory, MigMode, Reading};
use node_contract::{
    Freshness, HealthRecord, InstanceHealth, MAX_BYTES, NodeReport, ReadError, SCHEMA_VERSION, WriteError,
};
use node_host::{BootId, LocalPath};
use proptest::prelude::*;

use crate::damage::{changes, damaged};
use tempfile::TempDir;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/inventory.json");

fn boot(id: &str) -> BootId {
    serde_json::from_value(id.into()).unwrap()
}

fn report() -> NodeReport {
    let healthy: gpu_model::GpuUuid = "GPU-4cf8db2d-06c0-7d70-1a51-e59b25b2c16c".parse().unwrap();
    let sick: gpu_model::GpuUuid = "GPU-aaaaaaaa-06c0-7d70-1a51-e59b25b2c16c".parse().unwrap();
    let gpu = |index: u32, uuid: &gpu_model::GpuUuid| Gpu {
        index,
        uuid: uuid.clone(),
        minor: Reading::Value(index),
        product: Reading::Value("NVIDIA A100-SXM4-80GB".to_owned()),
        pci: Reading::Value("0000:07:00.0".parse().unwrap()),
        memory_bytes: Reading::Value(85_899_345_920),
        compute_capability: Reading::Value((8, 0)),
        numa_node: Reading::NotSupported,
        mig_mode: Reading::Value(MigMode { current: false, pending: false }),
        mig_devices: Vec::new(),
        mig_failures: Vec::new(),
    };
    let mut second = gpu(1, &sick);
    second.pci = Reading::Failed { call: "nvmlDeviceGetPciInfo_v3".to_owned(), code: 15 };
    NodeReport {
        schema_version: SCHEMA_VERSION,
        generation: 7,
        boot_id: boot("0f3a6f3e-8a3c-4a4e-9d0b-3c1f7f0f9a11"),
        written_at: "2026-03-01T12:00:00Z".parse().unwrap(),
        inventory: Inventory {
            driver: DriverVersions {
                driver: "580.95.05".to_owned(),
                nvml: "13.580.95.05".to_owned(),
                cuda: Reading::Value((13, 0)),
            },
            gpus: vec![gpu(0, &healthy), second],
            failures: vec![GpuFailure {
                index: 2,
                call: "nvmlDeviceGetHandleByIndex_v2".to_owned(),
                code: 15,
            }],
        },
        health: BTreeMap::from([
            (
                healthy,
                HealthRecord {
                    health: Health::Healthy,
                    since: "2026-03-01T11:00:00Z".parse().unwrap(),
                    not_offered: Some("/dev/nvidia0 does not exist".to_owned()),
                    cause: None,
                    instances: BTreeMap::from([(
                        2,
                        InstanceHealth {
                            health: Health::Degraded { reasons: vec![HealthReason::Xid { xid: 109 }] },
                            since: "2026-03-01T11:30:00Z".parse().unwrap(),
                        },
                    )]),
                },
            ),
            (
                sick,
                HealthRecord {
                    health: Health::Unhealthy { reason: HealthReason::Xid { xid: 79 } },
                    since: "2026-03-01T11:59:58.5Z".parse().unwrap(),
                    not_offered: None,
                    cause: Some("xid".to_owned()),
                    instances: BTreeMap::new(),
                },
            ),
        ]),
    }
}

/// A file with the golden document after `change`.
fn changed(change: impl FnOnce(&mut serde_json::Value)) -> (TempDir, LocalPath) {
    let mut document: serde_json::Value = serde_json::from_str(&fs::read_to_string(GOLDEN).unwrap()).unwrap();
    change(&mut document);
    file(&document.to_string())
}

fn file(content: &str) -> (TempDir, LocalPath) {
    let folder = tempfile::tempdir().unwrap();
    let path = LocalPath::new(folder.path().join("inventory.json"));
    fs::write(&path, content).unwrap();
    (folder, path)
}

fn refusal(change: impl FnOnce(&mut serde_json::Value)) -> String {
    let (_folder, path) = changed(change);
    let error = NodeReport::read(&path).unwrap_err().to_string();
    assert!(error.starts_with(&path.to_string()), "{error}");
    error
}

#[test]
fn report_written_is_the_golden_document_and_reads_back_the_same() {
    let (_folder, path) = file("old");
    report().write(&path).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    golden::assert_golden(Path::new(GOLDEN), &text);
    assert_eq!(NodeReport::read(&path).unwrap(), report());
}

#[test]
fn report_of_another_schema_is_refused_whatever_else_is_in_it() {
    for version in
        [serde_json::json!(2), serde_json::json!(0), serde_json::json!("1"), serde_json::Value::Null]
    {
        let shown = version.to_string();
        let error = refusal(|document| {
            document["schema_version"] = version;
            document["inventory"] = "something new".into();
        });
        assert!(error.contains(&format!("schema_version is {shown}, expected 1")), "{error}");
    }
}

#[test]
fn report_with_a_wrong_value_is_refused_with_its_place_value_and_a_hint() {
    let error = refusal(|document| document["inventory"]["gpus"][1]["uuid"] = "GPU-1".into());
    assert!(error.contains("inventory.gpus[1].uuid is \"GPU-1\": "), "{error}");
    assert!(error.contains("expected GPU-xxxxxxxx-"), "{error}");

    let error = refusal(|document| document["generation"] = (-1).into());
    assert!(error.contains("generation is -1: "), "{error}");

    let error = refusal(|document| {
        document["inventory"]["driver"] = serde_json::json!({"driver": "580", "cuda": {"value": [13, 0]}})
    });
    assert!(error.contains("inventory.driver is ") && error.contains("missing field `nvml`"), "{error}");
}

#[test]
fn report_of_a_later_version_is_read_without_what_is_not_known_here() {
    let folder = tempfile::tempdir().unwrap();
    let path = LocalPath::new(folder.path().join("inventory.json"));
    let mut document = serde_json::to_value(report()).unwrap();
    document["colour"] = "green".into();
    document["inventory"]["gpus"][0]["fan"] = 3.into();
    fs::write(&path, document.to_string()).unwrap();
    assert_eq!(NodeReport::read(&path).unwrap(), report());
}

#[test]
fn report_with_a_long_wrong_value_quotes_its_beginning() {
    let error = refusal(|document| document["boot_id"] = vec!["é"; 10_000].into());
    assert!(error.chars().count() < 400 && error.contains('…'), "{error}");
}

#[test]
fn file_that_is_no_json_is_refused() {
    for content in ["", "{", "schema_version: 1", "\u{feff}{}"] {
        let (_folder, path) = file(content);
        assert!(matches!(NodeReport::read(&path), Err(ReadError::Syntax { .. })), "{content:?}");
    }
}

#[test]
fn key_that_stands_twice_is_refused_at_any_depth() {
    let golden = fs::read_to_string(GOLDEN).unwrap();
    for (once, twice) in [
        ("\"generation\": 7,", "\"generation\": 7, \"generation\": 8,"),
        ("\"code\": \"xid\",", "\"code\": \"xid\", \"code\": \"lost\","),
    ] {
        let content = golden.replace(once, twice);
        assert_ne!(content, golden);
        let (_folder, path) = file(&content);
        let error = NodeReport::read(&path).unwrap_err();
        assert!(matches!(error, ReadError::Ambiguous { .. }), "{error}");
        let why = std::error::Error::source(&error).unwrap().to_string();
        assert!(why.contains("stands twice at line"), "{why}");
    }
}

#[test]
fn report_that_no_reader_would_take_is_not_written() {
    let (_folder, path) = file("old");
    let mut report = report();
    let record = report.health.values().next().unwrap().clone();
    let reason = "x".repeat(64 * 1024);
    for n in 0..16 {
        let gpu = format!("GPU-00000000-0000-0000-0000-0000000000{n:02x}").parse().unwrap();
        report.health.insert(gpu, HealthRecord { not_offered: Some(reason.clone()), ..record.clone() });
    }
    let error = report.write(&path).unwrap_err();
    assert!(matches!(error, WriteError::TooLarge { .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
}

#[test]
fn file_that_is_absurdly_large_is_not_read() {
    let (_folder, path) = file(&" ".repeat(usize::try_from(MAX_BYTES).unwrap() + 1));
    assert!(matches!(NodeReport::read(&path), Err(ReadError::TooLarge { .. })));
}

#[test]
fn file_that_is_missing_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let error = NodeReport::read(&LocalPath::new(folder.path().join("inventory.json"))).unwrap_err();
    assert!(error.is_missing() && error.to_string().contains("inventory.json"), "{error}");
    assert!(!NodeReport::read(&LocalPath::new(folder.path())).unwrap_err().is_missing());
}

#[test]
fn report_of_another_boot_is_told_apart() {
    let ours = report().boot_id;
    assert_eq!(report().freshness(&ours), Freshness::ThisBoot);
    assert_eq!(report().freshness(&boot("another")), Freshness::OtherBoot { theirs: ours });
}

proptest! {
    #[test]
    fn reader_given_any_bytes_never_panics(content: Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let path = LocalPath::new(folder.path().join("inventory.json"));
        fs::write(&path, content).unwrap();
        prop_assert!(NodeReport::read(&path).is_err());
    }

    #[test]
    fn reader_given_a_changed_document_never_panics_and_reads_what_it_would_write(
        changes in changes(),
    ) {
        let content = damaged(fs::read(GOLDEN).unwrap(), changes);
        let folder = tempfile::tempdir().unwrap();
        let path = LocalPath::new(folder.path().join("inventory.json"));
        fs::write(&path, content).unwrap();
        if let Ok(report) = NodeReport::read(&path) {
            report.write(&path).unwrap();
            prop_assert_eq!(NodeReport::read(&path).unwrap(), report);
        }
    }
}
