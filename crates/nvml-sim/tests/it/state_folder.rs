//! The state folder under many writers, and under writers that are killed.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::mem::MaybeUninit;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nvml_sim::{StateFolder, StateFolderError};
use rustix::fs::inotify;

use crate::sim::{node, nvml_sim};

/// The format of states: a change of it is one that people notice.
const FORMAT: u32 = 7;

const CHILD: &str = "NVML_SIM_TEST_CHILD";
/// A killed writer may have been anywhere in its commit; so many different moments are tried.
const KILLS: usize = 60;

#[test]
fn commits_of_many_threads_and_processes_all_count() {
    let (_dir, folder) = node("t4");
    let mut processes: Vec<_> = (0..4)
        .map(|_| {
            nvml_sim(folder.dir()).args(["clock", "advance", "1s"]).stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            // As two copies of the library in one process would, each with its own idea of the folder.
            let folder = StateFolder::open(folder.dir()).unwrap();
            scope.spawn(move || {
                for _ in 0..10 {
                    folder.advance_clock(Duration::from_secs(1)).unwrap();
                }
            });
        }
    });
    for process in &mut processes {
        assert!(process.wait().unwrap().success());
    }
    let state = folder.state().unwrap();
    assert_eq!(state.generation, 44);
    assert_eq!(state.clock, nvml_sim::Clock::Ahead(44_000_000));
}

#[test]
fn change_reads_the_node_file_once_whatever_follows_from_it() {
    let (dir, folder) = node("dgx-h100");
    let library = dir.path().join("library");
    fs::write(&library, "no library").unwrap();
    nvml_sim::root::lay(&folder, &dir.path().join("root"), Some(&library)).unwrap();
    let node = folder.node().unwrap();
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    // Equal events one after the other are told once, so closing is watched too.
    let opened_and_closed = inotify::WatchFlags::OPEN | inotify::WatchFlags::CLOSE_NOWRITE;
    inotify::add_watch(&watch, folder.dir().join("node.yaml"), opened_and_closed).unwrap();
    // Counters, the kernel's log and a host root: each has to know the node.
    folder
        .update(|state| {
            state.reload(&node, Some("580.105.08"));
            let report = nvml_sim::Report { xid: 48, ..Default::default() };
            let gpu = Some(node.gpus[0].uuid.as_str());
            state.befall(&node, gpu, &nvml_sim::Befall::Xid(report), 1_767_225_600_000_000).unwrap();
        })
        .unwrap();
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(&watch, &mut buffer);
    assert_eq!(std::iter::from_fn(|| events.next().ok().map(|_| ())).count(), 2);
    let version = fs::read_to_string(dir.path().join("root/proc/driver/nvidia/version")).unwrap();
    assert!(version.contains("580.105.08"));
    assert!(fs::read_to_string(folder.dir().join("kmsg")).unwrap().contains("Xid"));
}

#[test]
fn writers_killed_at_any_moment_leave_a_whole_state() {
    const NAME: &str = "state_folder::writers_killed_at_any_moment_leave_a_whole_state";
    if std::env::var_os(CHILD).is_some() {
        let dir = std::env::var_os("NVML_SIM_DIR").unwrap();
        let folder = StateFolder::open(dir.as_ref()).unwrap();
        loop {
            folder.inject_xid("0", 13, None, None).unwrap();
            println!("\nCOMMITTED {}", folder.state().unwrap().generation);
            std::io::stdout().flush().unwrap();
        }
    }
    let (_dir, folder) = node("t4");
    for kill in 0..KILLS {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env("NVML_SIM_DIR", folder.dir())
            .env(CHILD, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        let committed = |line: std::io::Result<String>| {
            line.unwrap().strip_prefix("COMMITTED ").map(|number| number.parse::<u64>().unwrap())
        };
        // Kept until the kill: a writer whose pipe is closed would end by itself.
        let mut commits = lines.filter_map(committed);
        let told = commits.nth(kill % 3).unwrap();
        // Not a wait for anything: a moment somewhere in the next commit.
        let moment = Instant::now() + Duration::from_micros(kill as u64 * 211 % 4000);
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        let told = commits.last().unwrap_or(told);
        let state = StateFolder::open(folder.dir()).unwrap().state().unwrap();
        assert!(state.generation >= told, "a commit that was told is kept");
        assert_eq!(state.events.last, state.generation, "each commit is whole");
    }
    folder.inject_xid("0", 13, None, None).unwrap();
    let left = fs::read_dir(folder.dir()).unwrap().count();
    assert!(left < 40, "former generations are removed; {left} files are there");
}

#[test]
fn new_node_in_an_old_folder_begins_anew() {
    let (_dir, folder) = node("t4");
    folder.lose("0", None).unwrap();
    let yaml = fs::read_to_string(folder.dir().join("node.yaml")).unwrap();
    fs::remove_file(folder.dir().join("node.yaml")).unwrap();
    let again = StateFolder::create(folder.dir(), "node.yaml".as_ref(), &yaml).unwrap();
    assert_eq!(again.state().unwrap().generation, 0);
}

#[test]
fn new_node_in_an_old_folder_leaves_no_file_of_the_former() {
    let (_dir, folder) = node("t4");
    for xid in 1..4 {
        folder.inject_xid("0", xid, None, None).unwrap();
    }
    let yaml = fs::read_to_string(folder.dir().join("node.yaml")).unwrap();
    fs::remove_file(folder.dir().join("node.yaml")).unwrap();
    let again = StateFolder::create(folder.dir(), "node.yaml".as_ref(), &yaml).unwrap();
    let mut left: Vec<_> =
        fs::read_dir(again.dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    let state = fs::read_link(again.dir().join("state")).unwrap();
    assert_eq!(left, ["kmsg", "lock", "node.yaml", "state", state.to_str().unwrap()]);
}

#[test]
fn folder_made_by_many_at_once_is_made_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let made = std::thread::scope(|scope| {
        let yaml = nvml_sim::presets::find(nvml_sim::presets::NODES, "t4").unwrap().yaml;
        let create = || StateFolder::create(&dir.path().join("node"), "t4".as_ref(), yaml);
        let makers: Vec<_> = (0..8).map(|_| scope.spawn(create)).collect();
        let made: Vec<_> = makers.into_iter().map(|maker| maker.join().unwrap()).collect();
        made.into_iter().filter(|made| !matches!(made, Err(StateFolderError::Exists { .. }))).count()
    });
    assert_eq!(made, 1);
}

#[test]
fn state_of_another_format_is_refused_with_both_numbers() {
    let (_dir, folder) = node("t4");
    let path = folder.dir().join(fs::read_link(folder.dir().join("state")).unwrap());
    let text = fs::read_to_string(&path).unwrap();
    let own = format!("\"format\": {FORMAT},");
    let later = FORMAT + 1;
    let strange = format!("\"format\": {later},\n  \"colour\": \"red\",");
    for (format, found) in [(strange.as_str(), &*format!("format {later}")), ("", "format 0")] {
        assert!(text.contains(&own), "{text}");
        fs::write(&path, text.replace(&own, format)).unwrap();
        let (link, files) = (folder.dir().join("state"), fs::read_dir(folder.dir()).unwrap().count());
        // Neither looked at nor changed.
        for words in
            [&["show"][..], &["xid", "--gpu", "0", "48"], &["clock", "freeze"], &["root", "/nowhere"]]
        {
            let output = nvml_sim(folder.dir()).args(words).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
            for part in
                [found, &format!("format {FORMAT}"), env!("CARGO_PKG_VERSION"), link.to_str().unwrap()]
            {
                assert!(said.contains(part), "`{part}` is missing from {said}");
            }
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), text.replace(&own, format));
        assert_eq!(fs::read_dir(folder.dir()).unwrap().count(), files);
    }
}

#[test]
fn reader_of_an_old_folder_sees_the_new_node_in_its_place() {
    for wipe in [|dir: &Path| fs::remove_file(dir.join("node.yaml")), |dir: &Path| fs::remove_dir_all(dir)] {
        let (_dir, folder) = node("t4");
        folder.lose("0", None).unwrap();
        assert!(!folder.state().unwrap().lost.is_empty());
        let yaml = fs::read_to_string(folder.dir().join("node.yaml")).unwrap();
        wipe(folder.dir()).unwrap();
        let again = StateFolder::create(folder.dir(), "node.yaml".as_ref(), &yaml).unwrap();
        again.inject_xid("0", 13, None, None).unwrap();
        // Both nodes were changed once.
        assert_eq!(folder.state().unwrap(), again.state().unwrap());
    }
}

#[test]
fn refused_change_leaves_everything_as_it_was() {
    let (_dir, folder) = node("t4");
    folder.set("0", "temperature", "50").unwrap();
    let before = folder.state().unwrap();
    assert!(folder.set("0", "temperature", "hot").is_err());
    assert!(folder.set("1", "temperature", "50").is_err());
    assert_eq!(folder.state().unwrap(), before);
    folder.set("0", "temperature", "50").unwrap();
    assert_eq!(folder.state().unwrap().generation, before.generation, "no change is no commit");
}

#[test]
fn reader_of_another_process_sees_each_commit() {
    let (_dir, folder) = node("t4");
    let other = StateFolder::open(folder.dir()).unwrap();
    for xid in 1..20 {
        folder.inject_xid("0", xid, None, None).unwrap();
        assert_eq!(other.state().unwrap().events.last, xid);
    }
}

#[test]
fn reader_beside_a_writer_sees_whole_states_that_only_grow() {
    let (_dir, folder) = node("t4");
    let other = StateFolder::open(folder.dir()).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for _ in 0..100 {
                folder.inject_xid("0", 13, None, None).unwrap();
            }
        });
        let mut last = 0;
        while last < 100 {
            let state = other.state().unwrap();
            assert_eq!(state.events.last, state.generation);
            assert!(state.generation >= last);
            last = state.generation;
            assert!(!writer.is_finished() || other.state().unwrap().generation == 100);
        }
    });
}

#[test]
fn folder_without_node_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(StateFolder::open(dir.path()), Err(StateFolderError::Missing { .. })));
}

#[test]
fn damaged_state_is_an_error_that_names_the_file() {
    let (_dir, folder) = node("t4");
    folder.lose("0", None).unwrap();
    let name = fs::read_link(folder.dir().join("state")).unwrap();
    fs::write(folder.dir().join(&name), format!("{{\"format\": {FORMAT}, \"generation\": \"one\"}}"))
        .unwrap();
    let error = StateFolder::open(folder.dir()).unwrap().state().unwrap_err();
    assert!(error.to_string().contains(name.to_str().unwrap()), "{error}");
}

#[test]
fn every_xid_is_a_record_of_the_kernel_log() {
    let (dir, _folder) = node("t4");
    let yaml = nvml_sim::presets::find(nvml_sim::presets::NODES, "dgx-a100").unwrap().yaml;
    let yaml = format!("{yaml}faults: [{{xid: 48, gpu: 3}}, {{lose: off-bus, xid: 79, gpu: 0, at: 90s}}]\n");
    let folder = StateFolder::create(&dir.path().join("sick"), "sick.yaml".as_ref(), &yaml).unwrap();
    folder.freeze_clock().unwrap();
    folder.inject_xid("3", 95, Some(2), Some(0)).unwrap();
    let log = || fs::read_to_string(folder.dir().join("kmsg")).unwrap();
    assert_eq!(log().lines().count(), 3);
    folder.advance_clock(Duration::from_secs(100)).unwrap();
    let state = folder.state().unwrap();
    assert!(state.incidents.is_empty());
    let text = log();
    let said: Vec<_> = text.lines().map(|line| line.split_once(";NVRM: Xid ").unwrap()).collect();
    let rest: Vec<_> = said.iter().map(|(_, rest)| *rest).collect();
    assert_eq!(
        rest,
        [
            "(PCI:0000:4e:00): 48, pid='<unknown>', name=<unknown>",
            "(PCI:0000:4e:00): 154, GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)",
            "(PCI:0000:4e:00 GPU-I:02): 95, pid='<unknown>', name=<unknown>",
            "(PCI:0000:07:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
            "(PCI:0000:07:00): 154, GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)",
        ]
    );
    for ((head, _), event) in said.iter().zip(&state.events.records) {
        assert_eq!(*head, format!("3,{},{},-", event.sequence, event.time_us));
    }
}
