//! Bad usage ends with 2 before anything starts.

use std::fs;
use std::process::{Command, Output};

fn bench(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bench")).args(args).output().unwrap()
}

fn refused(args: &[&str], words: &[&str]) {
    let output = bench(args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
}

#[test]
fn peers_that_are_no_folder_are_refused() {
    refused(&["--peers", "/nowhere/peers"], &["/nowhere/peers", "--peers"]);
}

#[test]
fn peers_without_a_known_program_are_refused_and_what_is_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("other-device-plugin"), "").unwrap();
    let folder = dir.path().to_str().unwrap();
    refused(&["--peers", folder], &["other-device-plugin is not measured", "nvidia-device-plugin"]);
}

#[test]
fn group_that_is_unknown_is_refused_with_the_known_ones() {
    refused(&["--only", "teapots"], &["teapots", "footprint", "labels on the Node"]);
}

#[test]
fn preset_that_is_unknown_is_refused_with_the_known_ones() {
    refused(&["--preset", "dgx-9000"], &["dgx-9000", "dgx-a100"]);
}
