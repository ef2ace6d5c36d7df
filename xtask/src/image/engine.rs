//! The program that turns a staged root into an image: whichever of docker, podman and buildah is there.
//!
//! Each is asked to keep nothing: what remains is the archive.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::storage::Storage;

/// A program that builds images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Needs a daemon that answers.
    Docker,
    /// Builds by itself.
    Podman,
    /// Builds by itself.
    Buildah,
}

/// One image to build.
pub struct Order<'a> {
    /// Full name with tag.
    pub name: &'a str,
    /// The folder that holds `rootfs`.
    pub context: &'a Path,
    /// How it is built.
    pub containerfile: &'a Path,
    /// The Containerfile's arguments.
    pub arguments: &'a [(&'a str, &'a str)],
    /// Where the OCI archive goes.
    pub archive: &'a Path,
}

impl Engine {
    /// The first that is there and answers.
    pub fn find() -> Result<Self> {
        let answers = |program: &str, args: &[&str]| {
            let status =
                Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
            status.is_ok_and(|status| status.success())
        };
        // `docker info` fails when there is a client without its engine.
        for (engine, args) in
            [(Self::Docker, "info"), (Self::Podman, "--version"), (Self::Buildah, "--version")]
        {
            if answers(engine.program(), &[args]) {
                return Ok(engine);
            }
        }
        bail!("nothing here builds images: install one of docker (with its engine running), podman, buildah")
    }

    /// Builds the image and writes its archive.
    pub fn build(self, order: &Order<'_>) -> Result<()> {
        remove_file(order.archive)?;
        // Not below the target folder: podman takes no storage path of more than 50 characters.
        let storage = Storage::make(&std::env::temp_dir())?;
        let built = self.build_in(storage.path(), order);
        built.and(storage.remove())
    }

    fn build_in(self, storage: &Path, order: &Order<'_>) -> Result<()> {
        let mut build = self.command(storage);
        build.arg("build").arg("--file").arg(order.containerfile).args(["--tag", order.name]);
        for (name, value) in order.arguments {
            build.arg("--build-arg").arg(format!("{name}={value}"));
        }
        match self {
            Self::Docker => build.env("SOURCE_DATE_EPOCH", super::commit_time().to_string()),
            // Nothing is run in the build, so the weakest isolation is enough, and it works everywhere.
            Self::Podman | Self::Buildah => build.args([
                "--isolation=chroot",
                "--format=oci",
                "--timestamp",
                &super::commit_time().to_string(),
            ]),
        };
        run(build.arg(order.context))?;

        let archive = order.archive.to_string_lossy();
        let mut export = self.command(storage);
        match self {
            Self::Docker => export.args(["save", "--output", &archive, order.name]),
            Self::Podman => export.args(["save", "--format=oci-archive", "--output", &archive, order.name]),
            Self::Buildah => {
                export.args(["push", order.name, &format!("oci-archive:{archive}:{}", order.name)])
            }
        };
        run(&mut export)?;
        if self == Self::Docker {
            return run(self.command(storage).args(["image", "rm", order.name]));
        }
        Ok(())
    }

    /// The program with storage of its own, where it can have that.
    fn command(self, storage: &Path) -> Command {
        let mut command = Command::new(self.program());
        if self != Self::Docker {
            command.arg("--root").arg(storage.join("root")).arg("--runroot").arg(storage.join("run"));
            // Needs no mount, and so neither a kernel module nor a clean-up.
            command.arg("--storage-driver=vfs");
        }
        command
    }

    fn program(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Buildah => "buildah",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.program())
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start {command:?}"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("{command:?} failed:\n{}", String::from_utf8_lossy(&said).trim());
    }
    Ok(())
}

/// An archive that exists is added to by some engines.
fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
