//! Leases: who may have one, how it ends, and who has to let go first.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use gpu_health::Moment;
use gpu_model::GpuUuid;
use node_contract::{
    Acknowledgement, AcquireError, EndError, Heeded, HeededLeases, Holder, InvalidRequest, Lease,
    LeaseFolder, LeaseHold, LeaseRequest, LeaseState, Observed, PLUGIN_PRESENCE, is_daemon,
};
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
    let (purpose, who) = ("driver upgrade".to_owned(), "ada".to_owned());
    LeaseRequest { gpus, purpose, who, duration: MINUTE, boot: boot(1) }
}

fn folder(dir: &Path) -> LeaseFolder {
    LeaseFolder::new(&LocalPath::new(dir))
}

fn acquire(dir: &Path, gpus: &[u32]) -> Result<LeaseHold, AcquireError> {
    folder(dir).acquire(request(gpus), at(MINUTE))
}

fn states(dir: &Path, boot: &BootId, now: Duration) -> Vec<LeaseState> {
    let leases = folder(dir).leases(boot, at(now)).unwrap();
    leases.into_iter().map(|lease| lease.read.unwrap().1).collect()
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
        [gpu(2).as_str(), "driver upgrade", "by ada", id].iter().all(|part| refused.contains(part)),
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
    assert_eq!(hold.answers().unwrap().awaited.len(), 2);
    let (resource, id) = ("nvidia.com/gpu".parse().unwrap(), gpu(1).to_string());
    let holders = vec![Holder { pod: Some("default/trainer".to_owned()), resource, id }];
    let observed = Observed { held: 1, holders, ..Observed::default() };
    folder.acknowledge(&Acknowledgement::new(&hold.lease().id, &plugin, observed.clone())).unwrap();
    let answers = hold.answers().unwrap();
    assert_eq!(answers.awaited, BTreeSet::from([exporter.name().to_owned()]));
    assert_eq!((answers.acknowledged.len(), &answers.acknowledged[0].observed), (1, &observed));
    drop(exporter);
    assert_eq!(hold.answers().unwrap().awaited, BTreeSet::new());
    // One that starts now has to let go as well.
    let late = folder.present("gpu-health-agent.03").unwrap();
    assert_eq!(hold.answers().unwrap().awaited, BTreeSet::from([late.name().to_owned()]));
    // What a daemon saw that is gone does not count.
    drop(plugin);
    assert_eq!(hold.answers().unwrap().acknowledged, []);
}

#[test]
fn answer_to_a_lease_that_was_given_back_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path());
    let plugin = folder.present("gpu-device-plugin.1f").unwrap();
    let id = acquire(dir.path(), &[1]).unwrap().lease().id.clone();
    folder.acknowledge(&Acknowledgement::new(&id, &plugin, Observed::default())).unwrap();
    let left = std::fs::read_dir(dir.path().join("leases")).unwrap().count();
    assert_eq!(left, 2, "the folder's lock, and the presences");
}

#[test]
fn presence_of_a_daemon_that_was_killed_is_cleared_away_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let one = folder(dir.path()).present("gpu-device-plugin.01").unwrap();
    let present = dir.path().join("leases/present");
    std::fs::write(present.join("gpu-device-plugin.02"), "").unwrap();
    let _two = folder(dir.path()).present("gpu-device-plugin.03").unwrap();
    let mut names: Vec<_> =
        std::fs::read_dir(present).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["gpu-device-plugin.01", "gpu-device-plugin.03"]);
    drop(one);
}

#[test]
fn owner_is_asked_to_give_a_lease_back_and_what_counts_no_more_is_cleared() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path());
    let hold = acquire(dir.path(), &[1]).unwrap();
    let id = hold.lease().id.clone();
    assert_eq!(hold.release_asked(), None);
    assert!(matches!(
        folder.ask_to_release(&id, "bob", " "),
        Err(EndError::Request(InvalidRequest { field: "why", .. }))
    ));
    assert!(matches!(folder.ask_to_release("x", "bob", "now"), Err(EndError::Unknown { .. })));
    folder.ask_to_release(&id, "bob", "the node is needed").unwrap();
    let asked = hold.release_asked().unwrap();
    assert_eq!((asked.who.as_str(), asked.why.as_str()), ("bob", "the node is needed"));
    // It is its owner's as long as that lives and its time is not over.
    assert!(!folder.clear(&id, &boot(1), at(MINUTE)).unwrap());
    assert!(folder.clear(&id, &boot(1), at(MINUTE * 3)).unwrap());
    assert!(matches!(folder.clear(&id, &boot(1), at(MINUTE)), Err(EndError::Unknown { .. })));
}

#[test]
fn lease_that_cannot_be_read_keeps_others_from_taking_one_while_its_owner_lives() {
    let dir = tempfile::tempdir().unwrap();
    let first = acquire(dir.path(), &[1]).unwrap();
    let path = dir.path().join("leases").join(format!("{}.json", first.lease().id));
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"gpus\"", "\"gpu\"")).unwrap();
    assert!(matches!(acquire(dir.path(), &[2]), Err(AcquireError::Unreadable(_))));
    let found = folder(dir.path()).leases(&boot(1), at(MINUTE)).unwrap().remove(0);
    assert!(found.is_locked && found.read.is_err());
    // Without its owner it is only a file, whatever is in it.
    drop(first);
    std::fs::write(dir.path().join("leases/x.json"), vec![b' '; 2 << 20]).unwrap();
    acquire(dir.path(), &[2]).unwrap();
    assert_eq!(states(dir.path(), &boot(1), MINUTE), []);
}

// Both daemons heed leases so.
#[test]
fn lease_that_becomes_unreadable_is_heeded_as_it_was_while_its_owner_lives() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, boot) = (folder(dir.path()), boot(1));
    let mut heeded: HeededLeases<Lease> = HeededLeases::default();
    let mut look = |boot: Option<&BootId>, up| {
        let look = folder.look("gpu-device-plugin.1", heeded.presence().is_some(), boot, at(up));
        let Heeded { over, troubles } = heeded.take(look, |lease| lease);
        let live: Vec<String> = heeded.values().map(|lease| lease.id.clone()).collect();
        let over: Vec<String> = over.into_iter().map(|lease| lease.id).collect();
        (live, over, troubles.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(look(Some(&boot), MINUTE), (vec![], vec![], vec![]));
    assert!(folder.daemons().unwrap().iter().all(|name| is_daemon(name, PLUGIN_PRESENCE)));
    let hold = acquire(dir.path(), &[1]).unwrap();
    let id = hold.lease().id.clone();
    assert_eq!(look(Some(&boot), MINUTE), (vec![id.clone()], vec![], vec![]));
    let path = dir.path().join("leases").join(format!("{id}.json"));
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, "{").unwrap();
    let said = format!("lease {id} goes on as it was read before");
    assert_eq!(look(Some(&boot), MINUTE), (vec![id.clone()], vec![], vec![said]));
    // Without a boot id nothing new can be told.
    let none = "leases are not heeded: no boot id".to_owned();
    assert_eq!(look(None, MINUTE), (vec![id.clone()], vec![], vec![none]));
    drop(hold);
    // What a killed owner left behind.
    std::fs::write(&path, &text[..text.len() / 2]).unwrap();
    let said = "a lease is not heeded".to_owned();
    assert_eq!(look(Some(&boot), MINUTE), (vec![], vec![id], vec![said]));
}

#[test]
fn request_without_gpus_purpose_or_a_sensible_time_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let ask = |request| folder(dir.path()).acquire(request, at(MINUTE)).unwrap_err().to_string();
    assert!(ask(request(&[])).starts_with("gpus"));
    assert!(ask(LeaseRequest { purpose: " \n".to_owned(), ..request(&[1]) }).starts_with("purpose"));
    assert!(ask(LeaseRequest { who: "a\u{1b}[2J".to_owned(), ..request(&[1]) }).starts_with("who"));
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
