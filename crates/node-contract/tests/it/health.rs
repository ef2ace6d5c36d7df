//! The plugin's kept health and people's requests about it: their documents, and what is refused.

use std::fs;
use std::path::Path;

use gpu_health::{Evidence, Ledger, Moment, Settings, Subject, Word};
use node_contract::{HealthAnswer, HealthFile, HealthRequest, HealthVerb, MAX_REQUESTS, Mended, SubmitError};
use node_host::LocalPath;
use proptest::prelude::*;

use crate::damage::{changes, damaged};

const GPU: &str = "GPU-4cf8db2d-06c0-7d70-1a51-e59b25b2c16c";
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/health.json");

fn subject(text: &str) -> Subject {
    text.parse().unwrap()
}

fn health_file() -> HealthFile {
    let now = Moment { up: std::time::Duration::from_millis(90_500), unix_ms: 1_772_366_400_000 };
    let gpu = subject(GPU).gpu;
    let mut ledger = Ledger::new(Settings::default());
    ledger.take(&Evidence::Driver { version: "580.95.05".into() }, now);
    ledger.take(&Evidence::Listed { gpu: gpu.clone(), instances: Some(vec![1, 2]) }, now);
    ledger.take(&Evidence::Xid { gpu: gpu.clone(), xid: 79, gpu_instance: None }, now);
    ledger.take(&Evidence::Xid { gpu, xid: 109, gpu_instance: Some(2) }, now);
    let word = Word { who: "ada".into(), why: "fan \"rattles\"".into(), unix_ms: now.unix_ms };
    ledger.fence(&subject(&format!("{GPU}/gi1")), word, now).unwrap();
    let boot = serde_json::from_value("0f3a6f3e-8a3c-4a4e-9d0b-3c1f7f0f9a11".into()).unwrap();
    let answers = vec![
        HealthAnswer { id: "1".into(), refusal: None },
        HealthAnswer { id: "2".into(), refusal: Some("no such GPU".into()) },
    ];
    let mut file = HealthFile::new(boot, ledger.saved().clone(), answers);
    file.written_at = "2026-03-01T12:00:00Z".parse().unwrap();
    file
}

fn folder() -> (tempfile::TempDir, LocalPath) {
    let dir = tempfile::tempdir().unwrap();
    let path = LocalPath::new(dir.path().join("requests"));
    (dir, path)
}

fn request(who: &str, why: &str) -> Result<HealthRequest, String> {
    HealthRequest::new(HealthVerb::Fence, subject(GPU), who, why).map_err(|error| error.to_string())
}

#[test]
fn kept_health_is_the_golden_document_and_reads_back_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = LocalPath::new(dir.path().join("health.json"));
    health_file().write(&path).unwrap();
    golden::assert_golden(Path::new(GOLDEN), &fs::read_to_string(&path).unwrap());
    assert_eq!(HealthFile::read(&path).unwrap().file, health_file());
}

#[test]
fn kept_health_with_a_wrong_value_is_refused_with_its_place_and_an_unknown_field_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = LocalPath::new(dir.path().join("health.json"));
    let golden = fs::read_to_string(GOLDEN).unwrap();
    for (old, new, place) in [
        ("\"off\"", "\"on\"", "ledger is "),
        ("\"schema_version\": 1", "\"schema_version\": 2", "schema_version is 2"),
    ] {
        let content = golden.replacen(old, new, 1);
        assert_ne!(content, golden);
        fs::write(&path, content).unwrap();
        let error = HealthFile::read(&path).unwrap_err().to_string();
        assert!(error.contains(place), "{error}");
    }
    let later = golden.replacen("\"was_away\": false", "\"was_away\": false, \"colour\": 1", 1);
    assert_ne!(later, golden);
    fs::write(&path, later).unwrap();
    assert_eq!(HealthFile::read(&path).unwrap().file, health_file());
}

#[test]
fn answers_are_remembered_up_to_a_bound_newest_last() {
    let mut answers = Vec::new();
    for n in 0..1000 {
        HealthAnswer { id: n.to_string(), refusal: None }.remember(&mut answers);
    }
    assert!(answers.len() <= 2 * MAX_REQUESTS);
    assert_eq!(answers.last().unwrap().id, "999");
}

#[test]
fn request_comes_back_as_it_was_asked_and_oldest_first() {
    let (_dir, folder) = folder();
    assert_eq!(HealthRequest::waiting(&folder).unwrap(), Vec::new());
    let first = request("  ada ", "fan rattles").unwrap();
    let second = request("grace", "fan rattles, too").unwrap();
    second.submit(&folder).unwrap();
    first.submit(&folder).unwrap();
    fs::write(folder.join(".half-written.tmp"), "{").unwrap();
    let read: Vec<HealthRequest> = HealthRequest::waiting(&folder)
        .unwrap()
        .iter()
        .map(|path| HealthRequest::read(path).unwrap())
        .collect();
    assert_eq!(read, [first, second]);
    assert_eq!(read[0].word().who, "ada");
}

#[test]
fn request_without_a_name_or_a_reason_or_with_an_absurd_one_is_refused() {
    for (who, why) in [("", "why"), ("ada", "  "), ("ada", "two\nlines"), ("ada", &"x".repeat(513))] {
        let error = request(who, why).unwrap_err();
        assert!(error.contains("printable characters"), "{error}");
    }
}

#[test]
fn file_that_is_no_request_or_not_the_one_of_its_name_is_refused() {
    let (_dir, folder) = folder();
    let path = request("ada", "fan rattles").unwrap().submit(&folder).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    for (old, new) in
        [("\"fence\"", "\"burn\""), (GPU, "GPU-1"), ("fan rattles", "\\u0007"), ("{", "{\"colour\": 1,")]
    {
        fs::write(&path, text.replacen(old, new, 1)).unwrap();
        assert!(HealthRequest::read(&path).is_err(), "{old}");
    }
    let other = folder.join("other.json");
    fs::write(&other, text).unwrap();
    let error = HealthRequest::read(&other).unwrap_err().to_string();
    assert!(error.contains("expected the name of the file"), "{error}");
}

#[test]
fn folder_that_is_full_takes_no_more_and_says_so() {
    let (_dir, folder) = folder();
    fs::create_dir(&folder).unwrap();
    for n in 0..MAX_REQUESTS {
        fs::write(folder.join(format!("{n}.json")), "").unwrap();
    }
    let error = request("ada", "fan rattles").unwrap().submit(&folder).unwrap_err();
    assert!(matches!(error, SubmitError::Full { waiting: MAX_REQUESTS, .. }), "{error}");
    fs::write(folder.join("x.json"), "").unwrap();
    assert_eq!(HealthRequest::waiting(&folder).unwrap().len(), MAX_REQUESTS);
}

proptest! {
    #[test]
    fn readers_given_a_changed_document_never_panic_and_read_what_they_would_write(
        changes in changes(),
    ) {
        let content = damaged(fs::read(GOLDEN).unwrap(), changes);
        let dir = tempfile::tempdir().unwrap();
        let path = LocalPath::new(dir.path().join("health.json"));
        fs::write(&path, content).unwrap();
        prop_assert!(HealthRequest::read(&path).is_err());
        if let Ok(Mended { file, .. }) = HealthFile::read(&path) {
            file.write(&path).unwrap();
            prop_assert_eq!(HealthFile::read(&path).unwrap().file, file);
        }
    }
}
