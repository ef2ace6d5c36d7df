//! Small images without a container engine: a folder becomes an OCI archive that any runtime imports.
//!
//! For the cluster's own sandbox image and for test images. Shipped images are built from a Containerfile.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// What an image says besides its files.
#[derive(Clone, Debug, Default)]
pub struct ImageConfig {
    /// Full name with tag.
    pub name: String,
    /// The program and its fixed arguments.
    pub entrypoint: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
}

/// Packs the folder `rootfs` as an image with one layer into the OCI archive `archive`. `scratch` is a
/// folder to work in; it is emptied first.
///
/// # Errors
/// When a file cannot be written, or `tar` or `sha256sum` fails.
pub fn write_archive(rootfs: &Path, config: &ImageConfig, scratch: &Path, archive: &Path) -> Result<()> {
    if scratch.exists() {
        fs::remove_dir_all(scratch).with_context(|| format!("empty {}", scratch.display()))?;
    }
    let blobs = scratch.join("blobs/sha256");
    fs::create_dir_all(&blobs).with_context(|| format!("create {}", blobs.display()))?;

    let layer = scratch.join("layer");
    tar(rootfs, &layer)?;
    let layer = Blob::keep(&blobs, &layer)?;
    let image = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": { "Entrypoint": config.entrypoint, "Env": config.env },
        "rootfs": { "type": "layers", "diff_ids": [layer.digest()] },
    });
    let image = Blob::write(&blobs, &image)?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": image.descriptor("application/vnd.oci.image.config.v1+json"),
        "layers": [layer.descriptor("application/vnd.oci.image.layer.v1.tar")],
    });
    let manifest = Blob::write(&blobs, &manifest)?;
    let mut named = manifest.descriptor("application/vnd.oci.image.manifest.v1+json");
    named["annotations"] = json!({ "io.containerd.image.name": config.name });
    put(&scratch.join("index.json"), &json!({ "schemaVersion": 2, "manifests": [named] }))?;
    put(&scratch.join("oci-layout"), &json!({ "imageLayoutVersion": "1.0.0" }))?;
    tar(scratch, archive)?;
    fs::remove_dir_all(scratch).with_context(|| format!("remove {}", scratch.display()))
}

/// Content stored under its digest.
struct Blob {
    sha256: String,
    size: u64,
}

impl Blob {
    fn write(blobs: &Path, value: &Value) -> Result<Self> {
        let path = blobs.join("new");
        put(&path, value)?;
        Self::keep(blobs, &path)
    }

    fn keep(blobs: &Path, path: &Path) -> Result<Self> {
        let output = Command::new("sha256sum").arg(path).output().context("start sha256sum")?;
        let said = String::from_utf8_lossy(&output.stdout);
        let Some(sha256) = said.split_whitespace().next().filter(|_| output.status.success()) else {
            bail!("sha256sum {}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
        };
        let size = fs::metadata(path).with_context(|| format!("stat {}", path.display()))?.len();
        fs::rename(path, blobs.join(sha256)).with_context(|| format!("rename {}", path.display()))?;
        Ok(Self { sha256: sha256.to_owned(), size })
    }

    fn digest(&self) -> String {
        format!("sha256:{}", self.sha256)
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({ "mediaType": media_type, "digest": self.digest(), "size": self.size })
    }
}

/// The same folder gives the same archive: order, owner and times are fixed.
fn tar(folder: &Path, archive: &Path) -> Result<()> {
    let output = Command::new("tar")
        .args([
            "--create",
            "--sort=name",
            "--mtime=@0",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
            "--file",
        ])
        .arg(archive)
        .arg("--directory")
        .arg(folder)
        .arg(".")
        .output()
        .context("start tar")?;
    if !output.status.success() {
        bail!("tar {}: {}", folder.display(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

fn put(path: &Path, value: &Value) -> Result<()> {
    fs::write(path, serde_json::to_vec(value)?).with_context(|| format!("write {}", path.display()))
}

/// This machine's architecture by its name in image configurations.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
