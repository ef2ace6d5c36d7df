//! Images of the cluster: its own sandbox image, and bringing any archive into containerd.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::archive::{ImageConfig, write_archive};
use crate::layout::{Layout, in_node};
use crate::node::Node;

/// The image whose program holds a pod's namespaces.
pub(crate) const SANDBOX: &str = "gantry.dev/test/sandbox:1";

/// A program that does nothing but wait. containerd ends it with SIGKILL.
const WAIT: [&str; 3] = ["/bin/busybox", "sleep", "2147483647"];

/// Writes the sandbox image's archive and returns its path below the state folder.
pub(crate) fn write_sandbox(layout: &Layout) -> Result<&'static str> {
    let rootfs = layout.at("sandbox/rootfs");
    fs::create_dir_all(rootfs.join("bin")).with_context(|| format!("create {}", rootfs.display()))?;
    let busybox = rootfs.join("bin/busybox");
    fs::copy("/bin/busybox", &busybox).context("copy /bin/busybox")?;
    fs::set_permissions(&busybox, fs::Permissions::from_mode(0o755)).context("make busybox executable")?;
    let link = rootfs.join("bin/sh");
    if link.symlink_metadata().is_err() {
        symlink("busybox", &link).context("link sh to busybox")?;
    }
    let config = ImageConfig {
        name: SANDBOX.to_owned(),
        entrypoint: WAIT.map(str::to_owned).to_vec(),
        env: vec!["PATH=/bin".to_owned()],
    };
    let archive = "sandbox/image.tar";
    write_archive(&rootfs, &config, &layout.at("sandbox/scratch"), &layout.at(archive))?;
    Ok(archive)
}

/// Imports an archive that lies below the state folder.
pub(crate) fn import(node: &Node, below: &str) -> Result<()> {
    let output = node
        .enter("ctr")
        .args(["--namespace=k8s.io", "images", "import", "--local", &in_node(below)])
        .output()
        .context("start ctr")?;
    if !output.status.success() {
        bail!("ctr images import {below}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Imports an archive from anywhere on the host.
pub(crate) fn import_from_host(layout: &Layout, node: &Node, archive: &Path) -> Result<()> {
    let below = "import.tar";
    let imported = fs::copy(archive, layout.at(below))
        .with_context(|| format!("copy {}", archive.display()))
        .and_then(|_| import(node, below));
    // Also after a failure: archives are large.
    let removed = fs::remove_file(layout.at(below)).context("remove the copied archive");
    imported.and(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::ProcessId;

    #[test]
    fn archive_that_cannot_be_imported_leaves_no_copy() {
        let workspace = tempfile::tempdir().unwrap();
        let layout = Layout::in_workspace(workspace.path(), "x").unwrap();
        fs::create_dir_all(layout.root()).unwrap();
        let archive = workspace.path().join("image.tar");
        fs::write(&archive, "no archive").unwrap();
        // No process has this id: there is no node to import into.
        let node = Node::of(&layout, ProcessId { pid: u32::MAX >> 1, started: 0 });
        import_from_host(&layout, &node, &archive).unwrap_err();
        assert!(!layout.at("import.tar").exists());
        assert!(archive.is_file());
    }
}
