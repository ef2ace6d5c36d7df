//! The programs of others: fetched once, in the versions that this package pins, and kept below `.cache/e2e`.
//! It knows where they come from, not what they do.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The workspace's root.
pub fn workspace() -> PathBuf {
    package().parent().expect("a package lies in its workspace").to_owned()
}

/// This package.
pub fn package() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of a Go module of ours, whose `go.mod` and `go.sum` pin the modules of others.
pub fn go_module(name: &str) -> PathBuf {
    package().join(name)
}

/// Runs a command to its end, and fails with what it said unless it ended well.
pub fn finish(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{said}\n{errors}", output.status);
    output
}

/// Go in the folder of a module, without what this machine's user may have set.
pub fn go(module: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("go");
    command.args(args).env("GOFLAGS", "-mod=readonly").env("GOWORK", "off").current_dir(module);
    command
}

/// The folder of a module that `go-walk` pins.
pub fn module_of_others(path: &str) -> PathBuf {
    let ours = go_module("go-walk");
    finish(&mut go(&ours, &["mod", "download", path]));
    let told = finish(&mut go(&ours, &["list", "-m", "-f", "{{.Dir}}", path]));
    PathBuf::from(String::from_utf8_lossy(&told.stdout).trim())
}
