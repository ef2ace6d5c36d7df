//! What the machine must have: installed from Debian's archive when that is possible, named otherwise.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::process::geteuid;

use crate::progress::Progress;

/// What shows that a package is there.
enum Sign {
    /// One of these programs is on the path.
    Program(&'static [&'static str]),
    /// This file exists.
    File(&'static str),
    /// One of these commands ends well.
    Runs(&'static [&'static [&'static str]]),
    /// This program exists and needs no dynamic loader.
    Static(&'static str),
}

/// Debian packages, what shows that each is there, and what it is for.
const PACKAGES: [(&str, Sign, &str); 11] = [
    ("busybox-static", Sign::Static("/bin/busybox"), "the programs in test images"),
    // Any of the three builds images. Docker's client alone, without its engine, does not; buildah needs none.
    (
        "buildah",
        Sign::Runs(&[&["docker", "info"], &["podman", "--version"], &["buildah", "--version"]]),
        "building images",
    ),
    ("containernetworking-plugins", Sign::File("/usr/lib/cni/bridge"), "the pod network"),
    ("gcc", Sign::Program(&["cc"]), "building runc"),
    ("iproute2", Sign::Program(&["ip"]), "the node's network"),
    ("libseccomp-dev", Sign::File("/usr/include/seccomp.h"), "building runc"),
    ("mount", Sign::Program(&["mount"]), "the node's and the pods' mounts"),
    ("openssl", Sign::Program(&["openssl"]), "the cluster's certificates"),
    ("pkg-config", Sign::Program(&["pkg-config"]), "building runc"),
    ("python3-venv", Sign::Runs(&[&["python3", "-c", "import ensurepip, venv"]]), "nvidia-ml-py in tests"),
    ("util-linux", Sign::Program(&["unshare"]), "the node's namespaces"),
];

/// Installs what is missing.
///
/// # Errors
/// Without root, without Debian's package manager, or when an installation fails: says what is missing and
/// for what.
pub(crate) fn ensure(progress: &Progress) -> Result<()> {
    if !geteuid().is_root() {
        bail!("the cluster needs root (it makes namespaces and runs a kubelet): run this command with sudo");
    }
    if find_program("go").is_none() {
        bail!(
            "`go` is missing: the cluster's programs are built from source; install Go 1.26 or newer and put it on PATH"
        );
    }
    let missing: Vec<_> = PACKAGES.iter().filter(|(_, sign, _)| !sign.is_there()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|(name, _, _)| *name).collect();
    if find_program("apt-get").is_none() {
        let list: String = missing.iter().map(|(name, _, what)| format!("\n  {name} (for {what})")).collect();
        bail!("missing, by their names in Debian; install their like:{list}");
    }
    progress.say(format!("installing {}", names.join(", ")));
    apt_get(progress, &["update"])?;
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(&names);
    apt_get(progress, &install)?;
    match missing.iter().find(|(_, sign, _)| !sign.is_there()) {
        Some((name, _, what)) => {
            bail!("package {name} was installed, but what is needed for {what} is still not there")
        }
        None => Ok(()),
    }
}

/// A program on the path.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file())
}

impl Sign {
    fn is_there(&self) -> bool {
        match self {
            Sign::Program(names) => names.iter().any(|name| find_program(name).is_some()),
            Sign::File(path) => Path::new(path).is_file(),
            Sign::Runs(commands) => commands.iter().any(|command| ends_well(command)),
            // A dynamic program names its loader, /lib64/ld-linux-x86-64.so.2 or its like.
            Sign::Static(path) => {
                fs::read(path).is_ok_and(|bytes| !bytes.windows(9).any(|part| part == b"/ld-linux"))
            }
        }
    }
}

fn ends_well(command: &[&str]) -> bool {
    let Some((program, args)) = command.split_first() else { return false };
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn apt_get(progress: &Progress, args: &[&str]) -> Result<()> {
    let what = format!("apt-get {}", args.join(" "));
    let mut child = Command::new("apt-get")
        .arg("--quiet=2")
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| what.clone())?;
    if !progress.wait_for(&what, &mut child)? {
        bail!("{what} failed: see its messages above");
    }
    Ok(())
}
