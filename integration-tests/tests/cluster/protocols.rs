//! Our protocol files, compared with those compiled into Kubernetes' own module, by a Go program.

use std::path::Path;
use std::process::Command;

use crate::node::workspace;

#[test]
fn protocol_files_equal_those_of_kubernetes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("descriptors.pb");
    let ours = Command::new(env!("CARGO"))
        .args([
            "run",
            "--quiet",
            "--locked",
            "-p",
            "kubelet-api",
            "--example",
            "protocols",
            "--",
            "descriptors",
        ])
        .arg(&file)
        .current_dir(workspace())
        .output()
        .unwrap();
    assert!(ours.status.success(), "{}", String::from_utf8_lossy(&ours.stderr));

    // A comparison proves what its own tests prove.
    let (tested, said) = go(&["test", "-mod=readonly", "-v", "./..."], &[]);
    println!("{said}");
    assert!(tested, "{said}");
    assert!(said.contains("--- PASS"), "no test was run: {said}");
    let (alike, said) = go(&["run", "-mod=readonly", "."], &[&file]);
    println!("{said}");
    assert!(alike, "{said}");
}

/// Runs go on the comparing program: whether it ended well, and what it said.
fn go(args: &[&str], paths: &[&Path]) -> (bool, String) {
    let output = Command::new("go")
        .args(args)
        .args(paths)
        .env("GOFLAGS", "")
        .env("GOWORK", "off")
        .current_dir(workspace().join("integration-tests/descriptors"))
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}
