//! `cargo xtask image`: the daemons' container images, from one cargo build to OCI archives.
//!
//! Knows which images there are and in which order things happen. What is in an image is [`rootfs`]'s
//! business, how it is packed is [`engine`]'s.

mod engine;
mod glibc;
mod licences;
mod metadata;
mod rootfs;
mod storage;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::builder::PossibleValuesParser;

use crate::{root, say};
use engine::Engine;
use metadata::Metadata;

/// Where images are named from unless `--repository` says otherwise; manifests name them so.
const REPOSITORY: &str = "gantry.dev";

/// Largest compressed image, in bytes.
const TARGET_SIZE: u64 = 15_000_000;

/// The images. Each holds one program, built by the package of the same name.
const IMAGES: [Image; 2] = [
    Image {
        name: "gpu-device-plugin",
        description: "Advertises a node's NVIDIA GPUs to its kubelet.",
        stands_in_for: Some("nvidia-device-plugin"),
    },
    Image {
        name: "gpu-feature-discovery",
        description: "Labels a node with what its NVIDIA GPUs are.",
        stands_in_for: None,
    },
];

/// Which images to build, and where to put them.
#[derive(clap::Args)]
pub struct ImageArgs {
    /// Image to build, or all of them
    #[arg(long, default_value = "all", value_parser = names())]
    image: String,
    /// Folder for the archives [default: target/images]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Tag of the images
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"))]
    tag: String,
    /// What stands before an image's name
    #[arg(long, default_value = REPOSITORY)]
    repository: String,
}

/// One image.
#[derive(Clone, Copy)]
struct Image {
    name: &'static str,
    description: &'static str,
    /// NVIDIA's name for it, where that is another: the program is in the image under this name too, and a pod that names
    /// no command gets it by this name. So a DaemonSet of NVIDIA's works with the image changed; ours name their command.
    stands_in_for: Option<&'static str>,
}

impl Image {
    /// The program that a pod without a command runs.
    fn entry_point(&self) -> String {
        format!("/usr/bin/{}", self.stands_in_for.unwrap_or(self.name))
    }
}

fn names() -> PossibleValuesParser {
    std::iter::once("all").chain(IMAGES.iter().map(|image| image.name)).into()
}

/// Builds the images.
pub fn run(args: ImageArgs) -> Result<()> {
    let chosen: Vec<Image> =
        IMAGES.into_iter().filter(|image| args.image == "all" || args.image == image.name).collect();
    // First, so that a machine without one learns of it before a long build.
    let engine = Engine::find()?;
    let metadata = Metadata::read()?;
    build(&chosen)?;

    let output = args.output.unwrap_or_else(|| metadata.target_directory.join("images"));
    fs::create_dir_all(&output).with_context(|| format!("create {}", output.display()))?;
    for image in chosen {
        let program = metadata.target_directory.join("release").join(image.name);
        let context = output.join("context").join(image.name);
        let contents =
            rootfs::Contents { name: image.name, other_name: image.stands_in_for, program: &program };
        rootfs::stage(&context.join("rootfs"), &contents, &metadata, commit_time())?;
        let containerfile = context.join("Containerfile");
        write_containerfile(&containerfile, &image.entry_point())?;
        let archive = output.join(format!("{}.oci.tar", image.name));
        let name = format!("{}/{}:{}", args.repository, image.name, args.tag);
        engine.build(&engine::Order {
            name: &name,
            context: &context,
            containerfile: &containerfile,
            arguments: &[
                ("NAME", image.name),
                ("DESCRIPTION", image.description),
                ("VERSION", &args.tag),
                ("REVISION", &revision()),
            ],
            archive: &archive,
        })?;
        let size = compressed_size(&archive)?;
        let sized = output.join(format!("{}.size", image.name));
        fs::write(&sized, format!("{size}\n")).with_context(|| format!("write {}", sized.display()))?;
        say(format!("{}, by {engine}, in {}", judge(&name, size)?, archive.display()));
    }
    fs::remove_dir_all(output.join("context")).context("remove the build contexts")
}

/// The Containerfile of all images, with the entry point of one.
fn write_containerfile(path: &Path, entry_point: &str) -> Result<()> {
    let shared = root().join("images/Containerfile");
    let shared = fs::read_to_string(&shared).with_context(|| format!("read {}", shared.display()))?;
    fs::write(path, format!("{shared}ENTRYPOINT [\"{entry_point}\"]\n"))
        .with_context(|| format!("write {}", path.display()))
}

/// All programs from one call of cargo, so that they share one build of what they share.
fn build(images: &[Image]) -> Result<()> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--release", "--locked", "--bins"])
        .current_dir(root())
        .env("GANTRY_BUILD_COMMIT", revision());
    for image in images {
        cargo.args(["-p", image.name]);
    }
    let status = cargo.status().context("start cargo build")?;
    if !status.success() {
        bail!("cargo build --release failed");
    }
    Ok(())
}

/// Tells an image's size. One that is too large is an error: a node pulls it while its GPUs wait.
fn judge(name: &str, size: u64) -> Result<String> {
    let told = format!(
        "{name}: {:.2} MB compressed (target: below {} MB)",
        size as f64 / 1e6,
        TARGET_SIZE / 1_000_000
    );
    ensure!(size < TARGET_SIZE, "{told}: too large");
    Ok(told)
}

/// What a node would pull, in bytes. podman and buildah have compressed the layers, docker has not.
fn compressed_size(archive: &Path) -> Result<u64> {
    let mut gzip = Command::new("gzip")
        .arg("--stdout")
        .arg(archive)
        .stdout(Stdio::piped())
        .spawn()
        .context("start gzip")?;
    let mut output = gzip.stdout.take().context("gzip has an output")?;
    let size = io::copy(&mut output, &mut io::sink()).context("read from gzip")?;
    let status = gzip.wait().context("wait for gzip")?;
    if !status.success() {
        bail!("gzip {}: {status}", archive.display());
    }
    Ok(size)
}

/// The commit, or `unknown` outside a repository.
fn revision() -> String {
    git(&["rev-parse", "HEAD"]).unwrap_or_else(|| "unknown".to_owned())
}

/// The commit's time in seconds since 1970: the time of everything in an image.
fn commit_time() -> u64 {
    git(&["log", "-1", "--format=%ct"]).and_then(|time| time.parse().ok()).unwrap_or(0)
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).current_dir(root()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Args as _;

    use super::*;

    #[test]
    fn image_of_the_target_size_or_more_is_an_error_with_its_size() {
        assert!(judge("x", TARGET_SIZE - 1).unwrap().contains("15.00 MB compressed"));
        let error = judge("x", TARGET_SIZE).unwrap_err().to_string();
        assert_eq!(error, "x: 15.00 MB compressed (target: below 15 MB): too large");
    }

    #[test]
    fn image_that_does_not_exist_is_bad_usage_and_names_those_that_do() {
        let command = ImageArgs::augment_args(clap::Command::new("image"));
        let error = command.try_get_matches_from(["image", "--image", "nope"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("gpu-device-plugin"), "{error}");
    }
}
