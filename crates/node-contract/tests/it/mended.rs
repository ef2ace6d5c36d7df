//! Files of which a part cannot be read: the part alone is lost, and never on the unsafe side.

use std::fs;

use gpu_health::{Evidence, Ledger, Moment, Record, Settings, Subject, Word};
use gpu_model::{GpuUuid, Health, HealthReason};
use node_contract::{HealthAnswer, HealthFile, HeldFile, Mended, NodeReport, ReadError};
use node_host::LocalPath;
use proptest::prelude::*;
use serde_json::{Value, json};

const GPUS: u8 = 4;

fn gpu(n: u8) -> GpuUuid {
    format!("GPU-00000000-0000-0000-0000-0000000000{n:02x}").parse().unwrap()
}

/// Of four GPUs two fenced, one of these with a sick instance, one sick, and one well.
fn ledger() -> Ledger {
    let now = Moment { up: std::time::Duration::from_secs(90), unix_ms: 1_772_366_400_000 };
    let word = || Word { who: "ada".into(), why: "a look at its fan".into(), unix_ms: now.unix_ms };
    let mut ledger = Ledger::new(Settings::default());
    ledger.take(&Evidence::Driver { version: "580.95.05".into() }, now);
    (0..GPUS).for_each(|n| drop(ledger.take(&Evidence::Listed { gpu: gpu(n), instances: None }, now)));
    ledger.take(&Evidence::Xid { gpu: gpu(0), xid: 109, gpu_instance: Some(2) }, now);
    ledger.take(&Evidence::Xid { gpu: gpu(1), xid: 79, gpu_instance: None }, now);
    ledger.take(&Evidence::Vanished(gpu(2)), now);
    for n in [0, 1] {
        ledger.fence(&Subject::gpu(gpu(n)), word(), now).unwrap();
    }
    ledger.fence(&Subject { gpu: gpu(0), gpu_instance: Some(1) }, word(), now).unwrap();
    ledger
}

fn kept() -> Value {
    let boot = serde_json::from_value("0f3a6f3e-8a3c-4a4e-9d0b-3c1f7f0f9a11".into()).unwrap();
    let answers = ["1", "2"].map(|id| HealthAnswer { id: id.into(), refusal: None });
    serde_json::to_value(HealthFile::new(boot, ledger().saved().clone(), answers.into())).unwrap()
}

fn with_file<T>(document: &Value, read: impl Fn(&LocalPath) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    let path = LocalPath::new(folder.path().join("file.json"));
    fs::write(&path, document.to_string()).unwrap();
    read(&path)
}

fn read(document: &Value) -> Result<Mended<HealthFile>, ReadError> {
    with_file(document, HealthFile::read)
}

/// What the ledger says of each subject after a restart in the same boot, and what was told of the reading.
fn restored(document: &Value) -> (Vec<Record>, String) {
    let Mended { file, unread } = read(document).unwrap();
    let told: Vec<String> = unread.iter().map(ToString::to_string).collect();
    (Ledger::as_kept(file.ledger).records(), told.join("\n"))
}

fn of(records: &[Record], n: u8) -> Vec<Record> {
    records.iter().filter(|record| record.subject.gpu == gpu(n)).cloned().collect()
}

fn unreadable() -> Health {
    Health::Unhealthy { reason: HealthReason::RecordUnreadable }
}

fn record(document: &mut Value, n: u8) -> &mut Value {
    &mut document["ledger"]["gpus"][gpu(n).as_str()]
}

/// The places of all values in `value`.
fn places(value: &Value) -> Vec<String> {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    let deeper =
        |(at, value): (String, &Value)| places(value).into_iter().map(move |rest| format!("/{at}{rest}"));
    std::iter::once(String::new()).chain(inner.into_iter().flat_map(deeper)).collect()
}

#[test]
fn gpu_whose_record_cannot_be_read_is_unhealthy_until_a_clear_and_named_with_the_value() {
    let mut document = kept();
    record(&mut document, 3)["silence"] = json!({"depth": 3});
    let (records, told) = restored(&document);
    let mut expected = ledger().records();
    expected.iter_mut().filter(|record| record.subject.gpu == gpu(3)).for_each(|record| {
        record.health = unreadable();
        record.awaits = Some("a boot of the node".to_owned());
    });
    assert_eq!(records, expected);
    assert!(told.contains(gpu(3).as_str()) && told.contains("silence is {\"depth\":3}"), "{told}");

    let mut mended = Ledger::as_kept(read(&document).unwrap().file.ledger);
    let word = Word { who: "ada".into(), why: "looked at".into(), unix_ms: 0 };
    mended.clear(&Subject::gpu(gpu(3)), word, Moment::default()).unwrap();
    assert_eq!(mended.health(&gpu(3)), Some(Health::Healthy));
}

#[test]
fn reason_that_only_a_later_version_knows_stays_as_grave_as_it_was_and_waits_for_its_own_proof() {
    let mut document = kept();
    record(&mut document, 1)["own"]["fence"] = Value::Null;
    record(&mut document, 1)["own"]["findings"][0]["reason"] = json!({"code": "melted", "at": 900});
    let (records, told) = restored(&document);
    let found = &of(&records, 1)[0];
    assert_eq!(found.health.to_string(), "Unhealthy(melted)");
    assert_eq!((found.awaits.as_deref(), told.as_str()), (Some("a reset of the GPU"), ""));
}

#[test]
fn fence_stays_a_fence_whether_it_or_what_is_beside_it_cannot_be_read() {
    let fenced = Health::Unhealthy { reason: HealthReason::Fenced };
    for (place, value, who, why) in [
        ("/own/fence", json!({"by": {"name": "ada"}}), "unreadable", "unreadable"),
        ("/own/fence/why", json!(["fan", "power"]), "ada", "unreadable"),
        ("/own/fence", json!("ada"), "unreadable", "unreadable"),
        ("/own/findings/0/ends", json!("cooled"), "ada", "a look at its fan"),
        ("/own", json!(7), "unreadable", "unreadable"),
        ("", Value::Null, "unreadable", "unreadable"),
        ("/instances", json!([]), "ada", "a look at its fan"),
        ("/recovery", json!("melt"), "ada", "a look at its fan"),
    ] {
        let mut document = kept();
        *record(&mut document, 1).pointer_mut(place).unwrap() = value;
        let Mended { file, unread } = read(&document).unwrap();
        assert_eq!(unread.len(), 1, "{place}");
        // Also in another boot, of which a fence is all that is left.
        let boots = [gpu_health::Boot::Same, gpu_health::Boot::Other];
        for ledger in boots.map(|boot| Ledger::restored(Settings::default(), file.ledger.clone(), boot)) {
            let found = of(&ledger.records(), 1).remove(0);
            let fence = found.fence.unwrap();
            assert_eq!((found.health, fence.who.as_str(), fence.why.as_str()), (fenced.clone(), who, why));
        }
    }
}

#[test]
fn gpu_instance_whose_record_cannot_be_read_costs_not_its_gpu() {
    let mut document = kept();
    record(&mut document, 0)["own"]["fence"] = Value::Null;
    record(&mut document, 0)["instances"]["2"]["findings"][0]["ends"] = json!({"cooled": {}});
    let (records, _) = restored(&document);
    let found: Vec<String> = of(&records, 0).iter().map(|record| record.health.to_string()).collect();
    assert_eq!(found, ["Healthy", "Unhealthy(fenced)", "Unhealthy(record-unreadable)"]);
}

#[test]
fn what_is_beside_the_records_is_left_out_and_a_file_without_a_head_or_records_is_refused() {
    for (place, value) in [
        ("/ledger/driver", json!(7)),
        ("/ledger/off", json!("partly")),
        ("/ledger/breaker", json!({"taken": 3})),
        ("/answers/0", json!({"id": 7})),
        ("/answers/1/id", Value::Null),
    ] {
        let mut document = kept();
        *document.pointer_mut(place).unwrap() = value;
        let (records, told) = restored(&document);
        assert_eq!(records, ledger().records(), "{place}");
        assert!(told.contains(" is "), "{told}");
    }
    let mut document = kept();
    document["ledger"]["gpus"]["GPU-of-another-kind"] = json!({});
    assert_eq!(restored(&document).0, ledger().records());
    for place in ["/boot_id", "/ledger", "/ledger/gpus", "/answers"] {
        let mut document = kept();
        *document.pointer_mut(place).unwrap() = json!(7);
        assert!(matches!(read(&document), Err(ReadError::Value { .. })), "{place}");
    }
}

#[test]
fn holder_that_cannot_be_read_costs_no_other_one() {
    let whole = json!({
        "schema_version": 1,
        "boot_id": "0f3a6f3e-8a3c-4a4e-9d0b-3c1f7f0f9a11",
        "written_at": "2026-03-01T12:00:00Z",
        "held": {"nvidia.com/gpu": ["GPU-1", "GPU-2"]},
        "mig_gpus": {"MIG-00000000-0000-0000-0000-000000000001": gpu(1)},
        "holders": ["default/a/main", "default/b/main"],
    });
    let mut document = whole.clone();
    document["held"]["no name"] = json!(["GPU-3"]);
    document["held"]["nvidia.com/gpu"] = json!(["GPU-1", {"uuid": "GPU-3"}, "GPU-2"]);
    document["held"]["nvidia.com/other"] = json!(3);
    document["mig_gpus"]["MIG-00000000-0000-0000-0000-000000000002"] = json!("GPU-1");
    document["holders"] = json!(["default/a/main", 3, "default/b/main"]);
    let Mended { file, unread } = with_file(&document, HeldFile::read).unwrap();
    assert_eq!(serde_json::to_value(file).unwrap(), whole);
    assert_eq!(unread.len(), 5, "{unread:?}");
    document["boot_id"] = json!(7);
    assert!(with_file(&document, HeldFile::read).is_err());
}

#[test]
fn report_on_a_gpu_that_cannot_be_read_takes_it_for_sick_and_the_others_as_they_are() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/inventory.json");
    let mut document: Value = serde_json::from_slice(&fs::read(golden).unwrap()).unwrap();
    let mut expected = with_file(&document, NodeReport::read).unwrap();
    let (sick, record) = expected.health.iter_mut().next().unwrap();
    document["health"][sick.as_str()]["health"] = json!({"state": "molten"});
    document["health"]["GPU-of-another-kind"] = json!({});
    record.health = unreadable();
    (record.cause, record.not_offered) = (None, None);
    record.instances.clear();
    assert_eq!(with_file(&document, NodeReport::read).unwrap(), expected);
}

proptest! {
    #[test]
    fn record_that_is_damaged_leaves_the_others_as_they_were_and_is_never_taken_for_better(
        n in 0..GPUS,
        at in any::<prop::sample::Index>(),
        junk in prop_oneof![
            Just(Value::Null), Just(json!(-1)), Just(json!("later")), Just(json!({"later": 1})), Just(json!(["later"])),
        ],
    ) {
        let mut document = kept();
        let places = places(record(&mut document, n));
        let place = &places[at.index(places.len())];
        *record(&mut document, n).pointer_mut(place).unwrap() = junk.clone();
        let (records, told) = restored(&document);
        let before = ledger().records();
        for other in (0..GPUS).filter(|other| *other != n) {
            prop_assert_eq!(of(&records, other), of(&before, other));
        }
        for (was, is) in of(&before, n).iter().zip(of(&records, n)).filter(|_| !told.is_empty()) {
            prop_assert_eq!(&is.subject, &was.subject);
            prop_assert!(is.health.is_schedulable() <= was.health.is_schedulable(), "{} {}", place, told);
            prop_assert!(is.fence.is_some() >= was.fence.is_some(), "{} {}", place, told);
        }
        let ledger = Ledger::as_kept(read(&document).unwrap().file.ledger);
        prop_assert!(told.is_empty() || !ledger.health(&gpu(n)).unwrap().is_schedulable());
    }
}
