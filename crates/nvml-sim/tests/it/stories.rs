//! Whole stories in a node file: what befalls a GPU, what the driver asks for then, and what ends it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nvml_sim::{
    Cause, Containment, Counter, EventKind, FaultEntry, PciDevice, ProcessEntry, RecoveryAction, StateFolder,
    presets,
};
use tempfile::TempDir;

fn folder(preset: &str, faults: &str) -> (TempDir, StateFolder) {
    let dir = tempfile::tempdir().unwrap();
    let yaml = format!("{}{faults}", presets::find(presets::NODES, preset).unwrap().yaml);
    let folder = StateFolder::create(&dir.path().join("node"), Path::new("story.yaml"), &yaml).unwrap();
    folder.freeze_clock().unwrap();
    (dir, folder)
}

fn minutes(folder: &StateFolder, count: u64) {
    folder.advance_clock(Duration::from_secs(count * 60)).unwrap();
}

fn of(gpu: &str) -> FaultEntry {
    FaultEntry { gpu: Some(gpu.to_owned()), ..FaultEntry::default() }
}

#[test]
fn gpu_is_lost_and_returns_and_the_driver_is_loaded_anew_as_declared() {
    let story = "faults:\n  - {lose: off-bus, xid: 79, gpu: 3, at: 10m}\n  - {set: {temperature: 91}, gpu: 2, at: 20m}\n  \
                 - {recover: return, gpu: 3, at: 30m}\n  - {reload: 580.105.08, at: 40m}\n";
    let (_dir, folder) = folder("dgx-a100", story);
    let uuid = folder.node().unwrap().gpus[3].uuid.clone();
    let look = || {
        let state = folder.state().unwrap();
        (state.lost.contains(&uuid), state.recovery_action(&uuid), state.overrides.len(), state.driver.number)
    };
    assert_eq!(look(), (false, RecoveryAction::None, 0, 0));
    minutes(&folder, 11);
    assert_eq!(look(), (true, RecoveryAction::Reboot, 0, 0));
    minutes(&folder, 10);
    assert_eq!(look(), (true, RecoveryAction::Reboot, 1, 0));
    minutes(&folder, 10);
    assert_eq!(look(), (false, RecoveryAction::None, 1, 0));
    minutes(&folder, 10);
    assert_eq!(look(), (false, RecoveryAction::None, 1, 1));
    assert_eq!(folder.node().unwrap().driver_version, "580.105.08");
}

#[test]
fn reboot_brings_all_gpus_back_and_has_an_id_of_its_own() {
    let (dir, folder) = folder("dgx-h100", "faults: [{reboot: true, at: 10m}]\n");
    let (library, root) = (dir.path().join("library"), dir.path().join("root"));
    fs::write(&library, "no library").unwrap();
    nvml_sim::root::lay(&folder, &root, Some(&library)).unwrap();
    let boot = || fs::read_to_string(root.join("proc/sys/kernel/random/boot_id")).unwrap();
    let first = boot();
    folder.lose("3", Some(79)).unwrap();
    folder.set("1", "persistence-mode", "off").unwrap();
    folder.drain("1", true).unwrap();
    folder.remove_gpu("1", false).unwrap();
    folder.inject_xid("1", 48, None, None).unwrap();
    let events = folder.state().unwrap().events.records.clone();
    assert!(events.iter().all(|event| event.data != 48), "no driver saw it: {events:?}");
    folder.reload(None).unwrap();
    assert!(!folder.state().unwrap().lost.is_empty() && boot() == first, "the machine is still up");
    let process = || ProcessEntry { gpu: "1".to_owned(), ..ProcessEntry::default() };
    let refused = folder.start_process(process()).unwrap_err().to_string();
    assert!(refused.contains("was removed"), "{refused}");
    minutes(&folder, 11);
    folder.start_process(process()).unwrap();
    let state = folder.state().unwrap();
    assert!(state.lost.is_empty() && state.drains.removed.is_empty() && state.recovery.is_empty());
    assert_eq!((state.reboots, state.driver.number), (1, 2));
    let second = boot();
    folder.declare(FaultEntry { reboot: true, ..FaultEntry::default() }).unwrap();
    assert!(first != second && second != boot() && first != boot());
    assert!(folder.declare(FaultEntry { reboot: true, ..of("0") }).is_err());
}

#[test]
fn gpu_drains_is_removed_and_is_discovered_as_declared() {
    let story = "processes: [{gpu: 2, pid: 7}]\nfaults:\n  - {set: {persistence-mode: off}, gpu: 1}\n  - {drain: true, gpu: 1}\n  \
                 - {remove: true, keep-device: true, gpu: 1, at: 10m}\n  - {discover: true, gpu: 1, at: 20m}\n  \
                 - {set: {persistence-mode: off}, gpu: 2, at: 30m}\n  - {drain: true, gpu: 2, at: 30m}\n  \
                 - {remove: true, gpu: 2, at: 40m}\n  - {drain: false, gpu: 2, at: 50m}\n  - {drain: true, gpu: 0, at: 50m}\n";
    let (_dir, folder) = folder("dgx-a100", story);
    let node = folder.node().unwrap();
    let look = || {
        let drains = folder.state().unwrap().drains.clone();
        let draining = node.gpus.iter().filter(|gpu| drains.draining.contains(&gpu.uuid));
        let removed = node.gpus.iter().filter_map(|gpu| Some((gpu.index, *drains.removed.get(&gpu.uuid)?)));
        (draining.map(|gpu| gpu.index).collect::<Vec<_>>(), removed.collect::<Vec<_>>())
    };
    assert_eq!(look(), (vec![1], vec![]));
    minutes(&folder, 11);
    assert_eq!(look(), (vec![1], vec![(1, PciDevice::Kept)]));
    minutes(&folder, 10);
    assert_eq!(look(), (vec![], vec![]));
    minutes(&folder, 10);
    assert_eq!(look(), (vec![2], vec![]));
    minutes(&folder, 10);
    assert_eq!(look(), (vec![2], vec![]), "a process keeps it");
    minutes(&folder, 10);
    assert_eq!(look(), (vec![], vec![]), "persistence mode keeps GPU 0");

    // By commands, at once or later, the driver says why it refuses what it is asked for now.
    let refused = |entry| folder.declare(entry).unwrap_err().to_string();
    let why = refused(FaultEntry { drain: Some(true), ..of("0") });
    assert!(
        why.contains("persistence mode") && why.contains("nvml-sim set --gpu 0 persistence-mode=off"),
        "{why}"
    );
    assert!(refused(FaultEntry { remove: true, ..of("1") }).contains("nvml-sim drain --gpu 1"));
    folder.drain("2", true).unwrap();
    assert!(refused(FaultEntry { remove: true, ..of("2") }).contains("in use"));
    folder.end_process(7).unwrap();
    folder.remove_gpu("2", false).unwrap();
    for entry in [FaultEntry { remove: true, ..of("2") }, FaultEntry { drain: Some(false), ..of("2") }] {
        assert!(refused(entry).contains("`nvml-sim discover` finds it again"));
    }
    folder
        .declare(FaultEntry { discover: true, at: Some("1m".parse().unwrap()), ..FaultEntry::default() })
        .unwrap();
    assert_eq!(look().1, [(2, PciDevice::Removed)]);
    minutes(&folder, 2);
    assert_eq!(look(), (vec![], vec![]));
}

#[test]
fn xid_asks_for_a_recovery_that_a_reset_ends_unless_it_needs_a_reboot() {
    let (_dir, folder) = folder("dgx-h100", "");
    let uuid = folder.node().unwrap().gpus[0].uuid.clone();
    let asked = || folder.state().unwrap().recovery_action(&uuid);
    let xid = |xid, no_recovery_action| {
        folder.declare(FaultEntry { xid: Some(xid), no_recovery_action, ..of("0") }).unwrap();
        asked()
    };
    assert_eq!(xid(95, true), RecoveryAction::None);
    assert_eq!(xid(31, false), RecoveryAction::None);
    assert_eq!(xid(95, false), RecoveryAction::Reset);
    folder.reset("0").unwrap();
    assert_eq!(asked(), RecoveryAction::None);
    assert_eq!(xid(79, false), RecoveryAction::Reboot);
    assert_eq!(xid(95, false), RecoveryAction::Reboot, "it asks for no less");
    folder.reset("0").unwrap();
    assert_eq!(asked(), RecoveryAction::Reboot);
    folder.reload(None).unwrap();
    assert_eq!(asked(), RecoveryAction::None);

    let log = fs::read_to_string(folder.dir().join("kmsg")).unwrap();
    let changes: Vec<_> = log.lines().filter(|line| line.contains(": 154, ")).collect();
    assert!(changes[0].ends_with("changed from 0x0 (None) to 0x1 (GPU Reset Required)"), "{changes:?}");
    assert_eq!(changes.len(), 2, "{log}");
    let state = folder.state().unwrap();
    let kinds: Vec<_> = state.events.records.iter().map(|event| event.kind).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == EventKind::RecoveryAction).count(), 2);
}

#[test]
fn memory_error_is_counted_and_told_and_leaves_a_row_or_a_page_pending() {
    let (replaced, rows) = (Cause::Uncorrectable, Counter::Rows(Cause::Uncorrectable));
    for (preset, how, counter, xids, asked) in [
        ("dgx-a100", Containment::Contained, rows, &[48, 63, 94][..], RecoveryAction::None),
        ("dgx-a100", Containment::Uncontained, rows, &[48, 63, 95], RecoveryAction::Reset),
        ("t4", Containment::Uncontained, Counter::Pages(replaced), &[48, 63], RecoveryAction::Reset),
    ] {
        let (_dir, folder) = folder(preset, "");
        folder.declare(FaultEntry { memory_error: Some(how), ..of("0") }).unwrap();
        let (node, state) = (folder.node().unwrap(), folder.state().unwrap());
        let (uuid, damage) = (&node.gpus[0].uuid, &state.damage[&node.gpus[0].uuid]);
        assert_eq!((damage.pending[&counter], damage.lasting.len()), (1, 2), "{preset}");
        let events = state.events.records.iter().filter(|event| event.kind == EventKind::Xid);
        assert_eq!(events.map(|event| event.data).collect::<Vec<_>>(), xids, "{preset}");
        assert_eq!(state.recovery_action(uuid), asked, "{preset}");
    }
    let (_dir, a100) = folder("dgx-a100", "");
    a100.declare(FaultEntry { memory_error: Some(Containment::Contained), gi: Some(2), ..of("0") }).unwrap();
    let told = a100.state().unwrap();
    let told = told.events.records.iter().map(|event| (event.data, event.gpu_instance));
    assert_eq!(told.collect::<Vec<_>>(), [(48, Some(2)), (63, None), (94, Some(2))], "the row is the GPU's");
    let (_dir, folder) = folder("t4", "");
    let error =
        folder.declare(FaultEntry { memory_error: Some(Containment::Contained), ..of("0") }).unwrap_err();
    assert!(error.to_string().contains("contained from Ampere on"), "{error}");
}
