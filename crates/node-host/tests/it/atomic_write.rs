//! Files replaced whole.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use node_host::{LocalPath, atomic};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::fixture::{Host, Part};

fn names(host: &Host) -> Vec<String> {
    fs::read_dir(host.path("."))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn write_replaces_content_and_sets_the_mode_whatever_it_was() {
    let host = Host::empty();
    host.file("spec.json", "old");
    let path = host.local("spec.json");
    atomic::write(&path, b"new", 0o640).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(names(&host), ["spec.json"]);
}

#[test]
fn write_into_a_missing_folder_is_an_error_that_names_the_path() {
    let host = Host::empty();
    let path = host.local("none/spec.json");
    let error = atomic::write(&path, b"", 0o600).unwrap_err();
    assert!(error.to_string().contains(&path.to_string()), "{error}");
    assert_eq!(error.io().kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn write_over_a_folder_fails_and_leaves_nothing_behind() {
    let host = Host::empty();
    host.file("spec.json/inside", "");
    let error = atomic::write(&host.local("spec.json"), b"new", 0o600).unwrap_err();
    assert_eq!(error.step(), "renaming the temporary file");
    assert_eq!(names(&host), ["spec.json"]);
}

#[test]
fn leftover_of_a_dead_writer_is_removed_and_others_are_kept() {
    let host = Host::empty();
    host.file(".spec.json.4711-0.tmp", "half");
    host.file(".spec.json.4711-1.tmp", "held by a living writer");
    host.file(".spec.json.notes.tmp", "not ours");
    let held = File::open(host.path(".spec.json.4711-1.tmp")).unwrap();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    atomic::write(&host.local("spec.json"), b"whole", 0o600).unwrap();
    let mut left = names(&host);
    left.sort();
    assert_eq!(left, [".spec.json.4711-1.tmp", ".spec.json.notes.tmp", "spec.json"]);
}

#[test]
fn reader_beside_two_writers_never_sees_half_a_file() {
    let host = Host::empty();
    let path = host.local("spec.json");
    let contents: [Vec<u8>; 2] = [vec![b'a'; 200_000], vec![b'b'; 100_000]];
    atomic::write(&path, &contents[0], 0o600).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writers: Vec<_> =
            contents.iter().map(|content| scope.spawn(|| write_often(&path, content))).collect();
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let seen = fs::read(&path).unwrap();
                assert!(contents.contains(&seen), "{} bytes", seen.len());
            }
        });
        let ended: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        done.store(true, Ordering::Relaxed);
        assert!(ended.iter().all(Result::is_ok));
    });
    assert_eq!(names(&host), ["spec.json"]);
}

fn write_often(path: &LocalPath, content: &[u8]) {
    for _ in 0..30 {
        atomic::write(path, content, 0o600).unwrap();
    }
}

/// Kills writers at whatever step they are in, the temporary file's life above all.
#[test]
fn writer_that_is_killed_leaves_the_old_content_or_the_new_and_no_lasting_rest() {
    const CHILD: &str = "NODE_HOST_TEST_KILLED_WRITER";
    let contents: [Vec<u8>; 2] = [vec![b'a'; 2_000_000], vec![b'b'; 1_000_000]];
    if let Ok(folder) = std::env::var(CHILD) {
        let path = LocalPath::new(folder).join("spec.json");
        // More than the test waits for.
        for content in contents.iter().cycle().take(10_000) {
            atomic::write(&path, content, 0o600).unwrap();
        }
        return;
    }
    let host = Host::empty();
    let path = host.local("spec.json");
    atomic::write(&path, &contents[0], 0o600).unwrap();
    // Some writers die at any time, some with a temporary file seen; on until one left its file behind.
    let mut rests = 0;
    for round in 0..200 {
        let mut writer = Part::start(
            "atomic_write::writer_that_is_killed_leaves_the_old_content_or_the_new_and_no_lasting_rest",
            CHILD,
            host.path("."),
        );
        let has_temporary = || names(&host).iter().any(|name| name.ends_with(".tmp"));
        writer.wait_until(|| round % 4 == 0 || has_temporary());
        drop(writer);
        let seen = fs::read(&path).unwrap();
        assert!(contents.contains(&seen), "{} bytes", seen.len());
        rests += usize::from(has_temporary());
        atomic::write(&path, &contents[1], 0o600).unwrap();
        assert_eq!(names(&host), ["spec.json"]);
        if round >= 20 && rests > 0 {
            return;
        }
    }
    panic!("no writer died with its temporary file in place");
}

/// A disk that is full, as far as this can be had without one: a limit on the size of files, in a process of its own.
#[test]
fn write_that_runs_out_of_space_keeps_the_old_content() {
    const CHILD: &str = "NODE_HOST_TEST_FULL_DISK";
    if let Ok(folder) = std::env::var(CHILD) {
        let limit = Rlimit { current: Some(1024), maximum: getrlimit(Resource::Fsize).maximum };
        setrlimit(Resource::Fsize, limit).unwrap();
        let error =
            atomic::write(&LocalPath::new(folder).join("spec.json"), &[b'x'; 4096], 0o600).unwrap_err();
        assert_eq!(error.step(), "writing the temporary file");
        return;
    }
    let host = Host::empty();
    host.file("spec.json", "old");
    // The limit comes with SIGXFSZ, which ends a process unless it is ignored.
    let own = std::env::current_exe().unwrap();
    let child = Command::new("/bin/sh")
        .args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"])
        .arg(own)
        .args(["--exact", "atomic_write::write_that_runs_out_of_space_keeps_the_old_content"])
        .env(CHILD, host.path("."))
        .output()
        .unwrap();
    assert!(child.status.success(), "{child:?}");
    assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"), "{child:?}");
    assert_eq!(fs::read(host.path("spec.json")).unwrap(), b"old");
    assert_eq!(names(&host), ["spec.json"]);
}
