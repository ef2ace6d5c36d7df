//! The show: all of its checks hold, and it goes in order whenever it goes.

use crate::run::Run;

#[test]
fn show_played_whole_holds_every_check_and_leaves_nothing() {
    let (status, output) = Run::start(&[]).end();
    assert!(status.success(), "{output}");
    assert!(output.contains("no process and no file is left"), "{output}");
    assert!(!output.contains('✗') && !output.contains('\x1b'), "{output}");
    let widest = output.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(widest <= 80, "{widest} columns:\n{output}");
}

#[test]
fn show_of_another_node_in_plain_signs_holds_every_check() {
    let (status, output) = Run::start(&["--preset", "dgx-h100", "--plain"]).end();
    assert!(status.success(), "{output}");
    assert!(output.is_ascii() && !output.contains("FAILED"), "{output}");
}

#[test]
fn show_that_stays_tells_what_to_try_and_leaves_nothing_at_ctrl_c() {
    let run = Run::start(&["--stay"]);
    run.until_it_says("  N=/tmp/");
    run.until_it_says("drop-streams --resource nvidia.com/gpu\n");
    run.interrupt();
    let (status, output) = run.end();
    assert!(status.success(), "{output}");
}

#[test]
fn show_interrupted_midway_ends_with_130_and_leaves_nothing() {
    let run = Run::start(&[]);
    run.until_it_says("The plugin registers");
    run.interrupt();
    let (status, output) = run.end();
    assert_eq!(status.code(), Some(130), "{output}");
}

#[test]
fn show_whose_plugin_dies_fails_and_leaves_nothing() {
    let run = Run::start(&[]);
    run.until_it_says("The plugin registers");
    run.kill_plugin();
    let (status, output) = run.end();
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(output.contains("The last words of gpu-device-plugin"), "{output}");
}

#[test]
fn preset_without_eight_gpus_is_refused_as_bad_usage() {
    let (status, _) = Run::start(&["--preset", "t4"]).end();
    assert_eq!(status.code(), Some(2));
}
