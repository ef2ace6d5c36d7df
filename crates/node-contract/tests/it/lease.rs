//! Leases: who may have one, how it ends, and who has to let go first.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use gpu_health::Moment;
use gpu_model::GpuUuid;
use node_contract::{Acknowledgement, AcquireError, Lease, LeaseFolder, LeaseHold, LeaseRequest, LeaseState};
use node_host::{BootId, LocalPath};
use proptest::prelude::*;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/lease.json");

/// Tells the test binary to be an owner that is going to be killed.
const OWNER_IN: &str = "GANTRY_TEST_LEASE_OWNER_IN";

const MINUTE: Duration = Duration::from_secs(60);

fn gpu(n: u32) -> GpuUuid {
    format!("GPU-00000000-0000-0000-0000-{n:012x}").parse().unwrap()
}

fn boot(n: u8) -> BootId {
    serde_json::from_value(format!("0f3a6f3e-8a3c-4a4e-9d0b-3c1f7f0f9a{n:02x}").into()).unwrap()
}

fn at(up: Duration) -> Moment {
    Moment { up, unix_ms: 1_772_366_400_000 }
}

fn request(gpus: &[u32]) -> LeaseRequest {
    let gpus = gpus.iter().map(|n| gpu(*n)).collect();
    LeaseRequest { gpus, purpose: "driver upgrade".to_owned(), duration: MINUTE, boot: boot(1) }
}

fn folder(dir: &Path) -> LeaseFolder {
    LeaseFolder::new(&LocalPath::new(dir))
}

fn acquire(dir: &Path, gpus: &[u32]) -> Result<LeaseHold, AcquireError> {
    folder(dir).acquire(request(gpus), at(MINUTE))
}

fn states(dir: &Path, boot: &BootId, now: Duration) -> Vec<LeaseState> {
    let leases = folder(dir).leases(boot, at(now)).unwrap();
    leases.into_iter().map(|lease| lease.unwrap().1).collect()
}

#[test]
fn lease_is_the_golden_document_and_counts_until_it_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let hold = acquire(dir.path(), &[1, 2]).unwrap();
    let path = dir.path().join("leases").join(format!("{}.json", hold.lease().id));
    let mut document: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for (field, value) in
        [("id", "01-7"), ("taken_at", "2026-03-01T12:00:00Z"), ("expires_at", "2026-03-01T12:01:00Z")]
    {
        document[field] = value.into();
    }
    assert_eq!(document["owner"]["pid"], std::process::id());
    assert!(document["owner"]["start_ticks"].as_u64().unwrap() > 0);
    document["owner"] = serde_json::json!({"pid": 7, "start_ticks": 4711});
    golden::assert_golden(Path::new(GOLDEN), &(serde_json::to_string_pretty(&document).unwrap() + "\n"));

    assert_eq!(states(dir.path(), &boot(1), MINUTE), [LeaseState::Live]);
    drop(hold);
    assert_eq!(states(dir.path(), &boot(1), MINUTE), []);
}

#[test]
fn second_owner_of_one_of_the_gpus_is_refused_with_who_has_it_and_others_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let first = acquire(dir.path(), &[1, 2]).unwrap();
    let refused = acquire(dir.path(), &[2, 3]).unwrap_err().to_string();
    let id = &first.lease().id;
    assert!(
        refused.contains(gpu(2).as_str()) && refused.contains("driver upgrade") && refused.contains(id),
        "{refused}"
    );
    let _other = acquire(dir.path(), &[3]).unwrap();
    drop(first);
    acquire(dir.path(), &[2]).unwrap();
}

#[test]
fn of_many_who_want_one_gpu_at_once_one_gets_it() {
    let dir = tempfile::tempdir().unwrap();
    let holds: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| acquire(dir.path(), &[1]))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(holds.iter().filter(|hold| hold.is_ok()).count(), 1);
}

#[test]
fn lease_of_a_killed_owner_counts_no_more_and_the_next_one_clears_it_away() {
    let dir = tempfile::tempdir().unwrap();
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "lease::owner_that_waits_for_its_end", "--nocapture"])
        .env(OWNER_IN, dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(owner.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.any(|line| line.contains("it has the lease")));
    assert_eq!(states(dir.path(), &boot(1), MINUTE), [LeaseState::Live]);
    assert!(matches!(acquire(dir.path(), &[1]), Err(AcquireError::Taken { .. })));
    owner.kill().unwrap();
    owner.wait().unwrap();
    assert_eq!(states(dir.path(), &boot(1), MINUTE), [LeaseState::OwnerDead]);
    drop(acquire(dir.path(), &[1]).unwrap());
    assert_eq!(states(dir.path(), &boot(1), MINUTE), []);
    let left = std::fs::read_dir(dir.path().join("leases")).unwrap().map(|entry| entry.unwrap().file_name());
    let left: BTreeSet<_> = left.collect();
    assert_eq!(left, BTreeSet::from([".lock".into(), "present".into()]));
}

/// The owner's part of the test before; by itself it does nothing.
#[test]
fn owner_that_waits_for_its_end() {
    if let Some(dir) = std::env::var_os(OWNER_IN) {
        let _hold = acquire(Path::new(&dir), &[1]).unwrap();
        println!("it has the lease");
        let _ = std::io::stdin().lines().next();
    }
}

#[test]
fn daemons_that_are_there_are_awaited_until_they_have_let_go_or_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path());
    let plugin = folder.present("gpu-device-plugin.1f").unwrap();
    let exporter = folder.present("gpu-metrics-exporter.2a").unwrap();
    assert!(folder.present("gpu-device-plugin.1f").is_err());
    assert!(folder.present("../plugin").unwrap_err().to_string().contains("no name of a daemon"));
    let hold = acquire(dir.path(), &[1]).unwrap();
    assert_eq!(hold.awaited().unwrap().len(), 2);
    let held = BTreeSet::from([gpu(1).to_string()]);
    folder.acknowledge(&Acknowledgement::new(hold.lease(), &plugin, held.clone())).unwrap();
    assert_eq!(hold.awaited().unwrap(), BTreeSet::from([exporter.name().to_owned()]));
    let acknowledged = hold.acknowledgements().unwrap();
    assert_eq!((acknowledged.len(), &acknowledged[0].held), (1, &held));
    drop(exporter);
    assert_eq!(hold.awaited().unwrap(), BTreeSet::new());
    // One that starts now has to let go as well.
    let late = folder.present("gpu-health-agent.03").unwrap();
    assert_eq!(hold.awaited().unwrap(), BTreeSet::from([late.name().to_owned()]));
}

#[test]
fn lease_that_cannot_be_read_keeps_others_from_taking_one() {
    let dir = tempfile::tempdir().unwrap();
    let first = acquire(dir.path(), &[1]).unwrap();
    let path = dir.path().join("leases").join(format!("{}.json", first.lease().id));
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"gpus\"", "\"gpu\"")).unwrap();
    assert!(matches!(acquire(dir.path(), &[2]), Err(AcquireError::Unreadable(_))));
}

#[test]
fn request_without_gpus_purpose_or_a_sensible_time_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let ask = |request| folder(dir.path()).acquire(request, at(MINUTE)).unwrap_err().to_string();
    assert!(ask(request(&[])).starts_with("gpus"));
    assert!(ask(LeaseRequest { purpose: " \n".to_owned(), ..request(&[1]) }).starts_with("purpose"));
    assert!(ask(LeaseRequest { duration: MINUTE * 60 * 25, ..request(&[1]) }).starts_with("duration"));
}

fn any_lease() -> Lease {
    let dir = tempfile::tempdir().unwrap();
    acquire(dir.path(), &[1]).unwrap().lease().clone()
}

proptest! {
    #[test]
    fn lease_counts_in_its_boot_under_its_lock_and_before_its_end_alone(same_boot: bool, is_locked: bool, up_ms in 0u64..300_000) {
        let lease = any_lease();
        let boot = if same_boot { boot(1) } else { boot(2) };
        let state = lease.state(&boot, at(Duration::from_millis(up_ms)), is_locked);
        let counts = same_boot && is_locked && up_ms < 120_000;
        prop_assert_eq!(state == LeaseState::Live, counts, "{}", state);
    }
}
