//! Programs under the shim: one in C, and one in Rust, which is this test itself.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says where it fails by panicking there")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// What asks this test to say its time, and nothing else.
const ASKED: &str = "CLOCK_SHIM_TEST_SAYS_ITS_TIME";

/// How long a program may take between its look at the clock and ours.
const PATIENCE: i64 = 600;

const HOUR: i64 = 3600;

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

/// How far off a program's clock is, roughly, by what it prints under the shim.
fn is_off_by(mut program: Command, file: &Path) -> i64 {
    let library = std::env::current_exe().unwrap().with_file_name("libclock_shim.so");
    let output = program.env("LD_PRELOAD", library).env("CLOCK_SHIM_FILE", file).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let time = text.lines().find_map(|line| line.trim().parse::<i64>().ok());
    time.unwrap_or_else(|| panic!("{text} {}", String::from_utf8_lossy(&output.stderr))) - now()
}

fn date() -> Command {
    let mut date = Command::new("date");
    date.arg("+%s");
    date
}

fn this_test() -> Command {
    let mut test = Command::new(std::env::current_exe().unwrap());
    test.args(["--exact", "program_has_the_time_that_the_file_says", "--nocapture"]).env(ASKED, "1");
    test
}

#[test]
fn program_has_the_time_that_the_file_says() {
    if std::env::var_os(ASKED).is_some() {
        // The harness has printed half a line by now.
        write!(std::io::stdout(), "\n{}\n", now()).unwrap();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("seconds");
    for offset in [0, 1000 * HOUR, -1000 * HOUR] {
        fs::write(&file, format!("{offset}\n")).unwrap();
        for program in [date, this_test] {
            let off = is_off_by(program(), &file);
            assert!((off - offset).abs() < PATIENCE, "{off}, wanted {offset}");
        }
    }
    // Neither a file that is not there nor one that is no number moves anything.
    fs::write(&file, "soon").unwrap();
    assert!(is_off_by(date(), &file).abs() < PATIENCE);
    assert!(is_off_by(date(), &dir.path().join("absent")).abs() < PATIENCE);
}
