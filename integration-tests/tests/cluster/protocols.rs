//! Our protocol files, compared with those compiled into Kubernetes' own module, by a Go program.

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

    let compared = Command::new("go")
        .args(["run", "-mod=readonly", "."])
        .arg(&file)
        .env("GOFLAGS", "")
        .env("GOWORK", "off")
        .current_dir(workspace().join("integration-tests/descriptors"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&compared.stdout);
    assert!(compared.status.success(), "{said}{}", String::from_utf8_lossy(&compared.stderr));
}
