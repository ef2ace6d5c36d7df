//! One node under many processes: readers beside writers, writers that die with the lock, a driver of another version.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, Command, Stdio};

use nvml_sim::StateFolder;
use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::error::NvmlError;
use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process};

use crate::sim::{child, is_child, node, nvml, own_folder};

/// Lines of a child, as they come.
fn lines(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap)
}

#[test]
fn many_clients_beside_many_writers_see_every_event_once_and_counts_that_only_grow() {
    const NAME: &str =
        "sharing::many_clients_beside_many_writers_see_every_event_once_and_counts_that_only_grow";
    const CLIENTS: usize = 12;
    const WRITERS: u64 = 4;
    const EACH: u64 = 8;
    if is_child() {
        let nvml = nvml();
        let gpu = nvml.device_by_index(0).unwrap();
        let set = gpu.register_events(EventTypes::CRITICAL_XID_ERROR, nvml.create_event_set().unwrap());
        let set = set.unwrap();
        println!("\nready");
        let mut celsius = gpu.temperature(nvml_wrapper::enum_wrappers::device::TemperatureSensor::Gpu);
        for seen in 0..WRITERS * EACH {
            set.wait(60_000).unwrap();
            // One of the writers counts degrees up before each of its XIDs.
            let now = gpu.temperature(nvml_wrapper::enum_wrappers::device::TemperatureSensor::Gpu);
            assert!(now.as_ref().unwrap() >= celsius.as_ref().unwrap(), "{seen}: {celsius:?}, then {now:?}");
            celsius = now;
        }
        assert_eq!(celsius.unwrap(), 40 + EACH as u32);
        assert!(matches!(set.wait(0), Err(NvmlError::Timeout)));
        return;
    }
    let (_dir, folder) = node("t4");
    folder.set("0", "temperature", "40").unwrap();
    let mut clients: Vec<Child> = (0..CLIENTS)
        .map(|_| child(NAME, folder.dir()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
        .collect();
    let mut said: Vec<_> = clients.iter_mut().map(lines).collect();
    for said in &mut said {
        assert!(said.any(|line| line == "ready"));
    }
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let folder = StateFolder::open(folder.dir()).unwrap();
            scope.spawn(move || {
                for turn in 1..=EACH {
                    if writer == 0 {
                        folder.set("0", "temperature", &(40 + turn).to_string()).unwrap();
                    }
                    folder.inject_xid("0", 31, None, None).unwrap();
                }
            });
        }
    });
    for (client, said) in clients.into_iter().zip(said) {
        let rest: Vec<_> = said.collect();
        let output = client.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{rest:#?}\n{errors}");
    }
    let state = folder.state().unwrap();
    assert_eq!(state.events.last, WRITERS * EACH);
    let log = fs::read_to_string(folder.dir().join("kmsg")).unwrap();
    let numbers = log.lines().map(|line| line.split(',').nth(1).unwrap().parse::<u64>().unwrap());
    assert!(numbers.eq(1..=WRITERS * EACH), "{log}");
}

#[test]
fn lock_of_a_killed_writer_is_free_though_its_child_has_the_file_open() {
    const NAME: &str = "sharing::lock_of_a_killed_writer_is_free_though_its_child_has_the_file_open";
    if is_child() {
        let change = |_: &mut nvml_sim::State| -> Result<(), ()> {
            // What a fork without exec does to every file: the child has it, too.
            for entry in fs::read_dir("/proc/self/fd").unwrap() {
                let number = entry.unwrap().file_name().to_str().unwrap().parse().unwrap();
                // SAFETY: used at once, and closed by nobody else in this process but the folder's own listing.
                let file = unsafe { BorrowedFd::borrow_raw(number) };
                if let Ok(flags) = fcntl_getfd(file.as_fd()) {
                    fcntl_setfd(file, flags.difference(FdFlags::CLOEXEC)).unwrap();
                }
            }
            let mut heir = Command::new("sh").args(["-c", "echo; echo heir $$; read -r _"]).spawn().unwrap();
            heir.wait().unwrap();
            Ok(())
        };
        own_folder().commit(change).unwrap().unwrap();
        return;
    }
    let (_dir, folder) = node("t4");
    let mut holder = child(NAME, folder.dir()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let heir = lines(&mut holder).find_map(|line| line.strip_prefix("heir ")?.parse().ok());
    let heir = Pid::from_raw(heir.unwrap()).unwrap();
    let stdin = holder.stdin.take().unwrap();
    holder.kill().unwrap();
    holder.wait().unwrap();
    let open: Vec<_> = fs::read_dir(format!("/proc/{}/fd", heir.as_raw_nonzero()))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .collect();
    assert!(open.contains(&folder.dir().join("lock")), "{open:?}");
    folder.inject_xid("0", 31, None, None).unwrap();
    // It waited for its input all the while.
    kill_process(heir, Signal::TERM).unwrap();
    drop(stdin);
}

#[test]
fn client_under_a_driver_of_another_format_mismatches_and_complains_once() {
    const NAME: &str = "sharing::client_under_a_driver_of_another_format_mismatches_and_complains_once";
    if is_child() {
        let nvml = nvml();
        let gpu = nvml.device_by_index(0).unwrap();
        let uuid = gpu.uuid().unwrap();
        let mut turns = std::io::stdin().lines().map(Result::unwrap);
        for answers in [false, false, true] {
            println!("\nnext");
            turns.next().unwrap();
            for _ in 0..100 {
                let again = gpu.uuid();
                if answers {
                    assert_eq!(again.unwrap(), uuid);
                } else {
                    assert!(matches!(again, Err(NvmlError::LibRmVersionMismatch)), "{again:?}");
                }
            }
        }
        return;
    }
    let (_dir, folder) = node("t4");
    let mut client = child(NAME, folder.dir());
    client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = client.spawn().unwrap();
    let (mut said, mut stdin) = (lines(&mut client), client.stdin.take().unwrap());
    let link = folder.dir().join("state");
    let own = fs::read_link(&link).unwrap();
    let text = fs::read_to_string(folder.dir().join(&own)).unwrap();
    let own_format = format!("\"format\": {},", folder.state().unwrap().format);
    assert!(text.contains(&own_format));
    // Commits of a newer one: what else is in them, an older one cannot know.
    for name in ["state.ffff.7.json", "state.ffff.8.json"] {
        fs::write(
            folder.dir().join(name),
            text.replace(&own_format, "\"format\": 999, \"colour\": \"red\","),
        )
        .unwrap();
    }
    for target in ["state.ffff.7.json", "state.ffff.8.json", own.to_str().unwrap()] {
        assert!(said.any(|line| line == "next"));
        let next = folder.dir().join("next");
        std::os::unix::fs::symlink(target, &next).unwrap();
        fs::rename(&next, &link).unwrap();
        stdin.write_all(b"\n").unwrap();
    }
    let mut complaints = String::new();
    client.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();
    let rest: Vec<_> = said.collect();
    assert!(client.wait().unwrap().success(), "{rest:#?}\n{complaints}");
    assert_eq!(complaints.matches("state of format 999").count(), 1, "{complaints}");
}
