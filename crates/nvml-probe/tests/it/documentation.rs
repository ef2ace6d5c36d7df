//! The commands in the documentation are run as they stand there. Blocks of `sh` are meant to run anywhere; those of
//! `console` need root, a network or a real GPU, and are left to the reader.

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Runs all commands of a page, in a folder of their own that stands for `/tmp`.
fn run(page: &str) {
    let docs = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs"));
    let text = fs::read_to_string(docs.join(page)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut script = String::new();
    for block in text.split("```sh\n").skip(1) {
        let commands = block.split("```").next().unwrap();
        writeln!(script, "{}", commands.replace("/tmp/", &format!("{}/", dir.path().display()))).unwrap();
    }
    assert!(!script.is_empty(), "{page} has no command");

    let programs = Path::new(env!("CARGO_BIN_EXE_nvml-probe")).parent().unwrap();
    for name in ["nvml-sim", "libnvml_sim_abi.so"] {
        let built = programs.join(name);
        assert!(
            built.is_file(),
            "{} is missing: run `cargo build --workspace --bins --lib` first",
            built.display()
        );
    }
    let mut path = programs.as_os_str().to_owned();
    path.push(":");
    path.push(env::var_os("PATH").unwrap_or_default());
    let output = Command::new("bash")
        .args(["-e", "-u", "-x", "-o", "pipefail", "-c", &script])
        .current_dir(dir.path())
        .env("PATH", path)
        .env_remove("NVML_SIM_DIR")
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{page}: {}\n{errors}", output.status);
}

#[test]
fn commands_of_the_first_page_run() {
    run("simulator.md");
}

#[test]
fn commands_about_faults_run() {
    run("simulator-faults.md");
}

#[test]
fn commands_about_gpus_run() {
    run("simulator-gpus.md");
}

#[test]
fn commands_about_the_probe_run() {
    run("nvml-probe.md");
}
