//! What the machine must have: installed from Debian's archive when that is possible, named otherwise.

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::process::geteuid;

use crate::progress::Progress;

/// The oldest Go that builds the programs: (major, minor).
const OLDEST_GO: (u32, u32) = (1, 26);

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

/// A Debian package: its name, what shows that it is there, and what it is for.
type Package = (&'static str, Sign, &'static str);

const PACKAGES: [Package; 11] = [
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

/// What was found on the machine.
struct Machine {
    root: bool,
    /// Whether Debian's package manager is there.
    apt: bool,
    /// What `go env GOVERSION` says; None without a Go.
    go: Option<String>,
    /// (name, what it is for) of the packages that are not there.
    packages: Vec<(&'static str, &'static str)>,
}

/// Installs what is missing.
///
/// # Errors
/// When something is missing that cannot be installed from here, or an installation fails: says all that is missing,
/// for what, and what to type.
pub(crate) fn ensure(progress: &Progress) -> Result<()> {
    let machine = Machine::look();
    if let Some(told) = missing(&machine) {
        bail!(told);
    }
    if machine.packages.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = machine.packages.iter().map(|(name, _)| *name).collect();
    progress.say(format!("installing {}", names.join(", ")));
    apt_get(progress, &["update"])?;
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(&names);
    apt_get(progress, &install)?;
    match Machine::look().packages.first() {
        Some((name, what)) => {
            bail!("package {name} was installed, but what is needed for {what} is still not there")
        }
        None => Ok(()),
    }
}

/// The cluster's processes and folders are root's: without root, whatever one says of them is wrong.
///
/// # Errors
/// Without root.
pub(crate) fn require_root() -> Result<()> {
    if !geteuid().is_root() {
        bail!("the cluster is root's: run this command as root, with sudo env PATH=\"$PATH\" before it");
    }
    Ok(())
}

/// A program on the path.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// All that a person has to do before the cluster can start, in one message. None when there is nothing, or only
/// packages that can be installed from here.
fn missing(machine: &Machine) -> Option<String> {
    let go = wrong_go(machine.go.as_deref());
    let installs = machine.root && machine.apt;
    if machine.root && go.is_none() && (machine.packages.is_empty() || installs) {
        return None;
    }
    let mut text = "the cluster cannot start on this machine:".to_owned();
    let mut add = |line: &str| {
        let _ = write!(text, "\n- {line}");
    };
    if let Some(go) = go {
        add(&go);
    }
    if !machine.packages.is_empty() && !installs {
        let list: String =
            machine.packages.iter().map(|(name, what)| format!("\n    {name} (for {what})")).collect();
        add(&format!("missing, by their names in Debian:{list}"));
        let names: Vec<&str> = machine.packages.iter().map(|(name, _)| *name).collect();
        if machine.apt {
            let names = names.join(" ");
            add(&format!("install them with: sudo apt-get install --yes --no-install-recommends {names}"));
        } else {
            add("there is no apt-get here: install what is like them");
        }
    }
    if !machine.root {
        add(
            "it needs root (it makes namespaces and runs a kubelet): sudo env PATH=\"$PATH\" make cluster-up",
        );
    }
    Some(text)
}

/// What is wrong with the Go of this version, or with its absence.
fn wrong_go(version: Option<&str>) -> Option<String> {
    let (major, minor) = OLDEST_GO;
    let wanted =
        format!("Go {major}.{minor} or newer on PATH (the cluster's programs are built from source)");
    let Some(version) = version else { return Some(format!("`go` is missing: install {wanted}")) };
    let mut numbers = version.trim_start_matches("go").split('.').map(leading_number);
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(its_major), Some(its_minor)) if (its_major, its_minor) >= OLDEST_GO => None,
        _ => Some(format!("`go` is {version}: install {wanted}")),
    }
}

/// 27 of `27rc1`.
fn leading_number(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

impl Machine {
    fn look() -> Self {
        let missing = PACKAGES.iter().filter(|(_, sign, _)| !sign.is_there());
        Self {
            root: geteuid().is_root(),
            apt: find_program("apt-get").is_some(),
            go: go_version(),
            packages: missing.map(|(name, _, what)| (*name, *what)).collect(),
        }
    }
}

fn go_version() -> Option<String> {
    let output = Command::new("go").args(["env", "GOVERSION"]).current_dir("/").output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine { root: true, apt: true, go: Some("go1.26.8".to_owned()), packages: Vec::new() }
    }

    #[test]
    fn machine_that_has_all_or_can_install_it_lacks_nothing() {
        assert_eq!(missing(&machine()), None);
        assert_eq!(missing(&Machine { packages: vec![("gcc", "building runc")], ..machine() }), None);
        for newer in ["go1.27rc1", "go1.30", "go2.0.1"] {
            assert_eq!(missing(&Machine { go: Some(newer.to_owned()), ..machine() }), None, "{newer}");
        }
    }

    #[test]
    fn machine_that_lacks_everything_is_told_all_of_it_at_once() {
        let bare = Machine {
            root: false,
            go: None,
            packages: vec![("gcc", "building runc"), ("iproute2", "the node's network")],
            ..machine()
        };
        assert_eq!(
            missing(&bare).unwrap(),
            "the cluster cannot start on this machine:
- `go` is missing: install Go 1.26 or newer on PATH (the cluster's programs are built from source)
- missing, by their names in Debian:
    gcc (for building runc)
    iproute2 (for the node's network)
- install them with: sudo apt-get install --yes --no-install-recommends gcc iproute2
- it needs root (it makes namespaces and runs a kubelet): sudo env PATH=\"$PATH\" make cluster-up"
        );
    }

    #[test]
    fn machine_of_another_distribution_is_told_the_names_and_no_command_of_debians() {
        let told = missing(&Machine { apt: false, packages: vec![("gcc", "building runc")], ..machine() });
        let told = told.unwrap();
        assert!(told.contains("gcc (for building runc)") && !told.contains("apt-get install"), "{told}");
    }

    #[test]
    fn go_that_is_too_old_or_strange_is_told_with_its_version() {
        for old in ["go1.25.3", "go1.9", "devel +abc", ""] {
            let told = missing(&Machine { go: Some(old.to_owned()), ..machine() }).unwrap();
            assert!(told.contains(&format!("`go` is {old}: install Go 1.26")), "{told}");
        }
    }
}
