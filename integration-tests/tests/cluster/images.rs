//! Images of the test pods: the probe with a real dynamic loader, laid out as three distributions would.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use test_cluster::{ImageConfig, write_archive};

use crate::daemon::{DISCOVERY, PLUGIN};
use crate::node::workspace;

/// The loader and the libraries lie as on Debian 12 and its kin: /lib and /lib64 are links into /usr.
pub const DEBIAN: &str = "gantry.dev/test/probe-debian:1";
/// The same, and the image asks for all GPUs by the variable that NVIDIA's own runtime obeys.
pub const WANTS_ALL: &str = "gantry.dev/test/probe-wants-all:1";
/// The loader searches /lib64 and /usr/lib64 alone, as on RHEL and its kin.
pub const RHEL: &str = "gantry.dev/test/probe-rhel:1";
/// As Debian, with an ld.so.cache that names a driver library which is no longer there.
pub const STALE_CACHE: &str = "gantry.dev/test/probe-stale-cache:1";

const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
const DEBIAN_FOLDER: &str = "/usr/lib/x86_64-linux-gnu";

/// Where a driver once was, in the image with the stale cache.
const GONE: &str = "opt/old-driver";

/// What glibc's parts the probe and the driver's libraries need.
const LIBRARIES: [&str; 6] =
    ["libc.so.6", "libgcc_s.so.1", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libm.so.6"];

/// The daemons' images as `cargo xtask image` built it, and those of the test pods, built here: archives in
/// `target/images`.
pub fn archives() -> Result<Vec<PathBuf>> {
    let folder = workspace().join("target/images");
    let mut archives = Vec::new();
    for daemon in [PLUGIN, DISCOVERY] {
        let shipped = folder.join(format!("{}.oci.tar", daemon.name));
        ensure!(shipped.is_file(), "{}: not built; run `make images`", shipped.display());
        archives.push(shipped);
    }

    let work = tempfile::tempdir().context("make a temporary folder")?;
    let all = "NVIDIA_VISIBLE_DEVICES=all";
    let variants: [(&str, &str, Lay); 4] =
        [(DEBIAN, "", debian), (WANTS_ALL, all, debian), (RHEL, "", rhel), (STALE_CACHE, "", stale_cache)];
    for (name, env, lay) in variants {
        let short = name.rsplit('/').next().and_then(|name| name.split(':').next()).unwrap_or(name);
        let rootfs = work.path().join(short);
        lay(&rootfs).with_context(|| format!("lay out {name}"))?;
        let config = ImageConfig {
            name: name.to_owned(),
            entrypoint: vec!["/usr/bin/gpu-probe".to_owned()],
            env: Some(env).filter(|env| !env.is_empty()).map(str::to_owned).into_iter().collect(),
        };
        let archive = folder.join(format!("test-{short}.oci.tar"));
        write_archive(&rootfs, &config, &work.path().join("scratch"), &archive)?;
        archives.push(archive);
    }
    Ok(archives)
}

type Lay = fn(&Path) -> Result<()>;

fn debian(rootfs: &Path) -> Result<()> {
    let folder = rootfs.join(DEBIAN_FOLDER.trim_start_matches('/'));
    lay_libraries(&folder)?;
    copy(Path::new(LOADER), &folder.join("ld-linux-x86-64.so.2"))?;
    fs::create_dir_all(rootfs.join("usr/lib64")).context("create /usr/lib64")?;
    for (target, link) in [
        ("usr/lib", "lib"),
        ("usr/lib64", "lib64"),
        ("/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "usr/lib64/ld-linux-x86-64.so.2"),
    ] {
        symlink(target, rootfs.join(link)).with_context(|| format!("link /{link}"))?;
    }
    lay_probe(rootfs)
}

/// There is no RHEL here to take a loader from. The search path is built into the loader, so this is Debian's
/// with other folders written in: of the same length, since repeated slashes mean one.
fn rhel(rootfs: &Path) -> Result<()> {
    let folder = rootfs.join("usr/lib64");
    lay_libraries(&folder)?;
    let loader = folder.join("ld-linux-x86-64.so.2");
    let mut bytes = fs::read(LOADER).context("read the loader")?;
    let folders: [(&[u8], &[u8]); 2] = [
        (
            b"/lib/x86_64-linux-gnu/\0/usr/lib/x86_64-linux-gnu/\0",
            b"/lib64////////////////\0/usr/lib64////////////////\0",
        ),
        (b"/lib/\0/usr/lib/\0", b"/none\0/usr/none\0"),
    ];
    for (debians, rhels) in folders {
        ensure!(debians.len() == rhels.len(), "a path of another length would move those behind it");
        let at = bytes.windows(debians.len()).position(|window| window == debians);
        let at = at.context("the loader's built-in search path was not found")?;
        bytes[at..at + rhels.len()].copy_from_slice(rhels);
    }
    fs::write(&loader, bytes).context("write the loader")?;
    fs::set_permissions(&loader, fs::Permissions::from_mode(0o755)).context("make the loader executable")?;
    symlink("usr/lib64", rootfs.join("lib64")).context("link /lib64")?;
    lay_probe(rootfs)
}

fn stale_cache(rootfs: &Path) -> Result<()> {
    debian(rootfs)?;
    let gone = rootfs.join(GONE);
    fs::create_dir_all(&gone).context("create the old driver's folder")?;
    fs::create_dir_all(rootfs.join("etc")).context("create /etc")?;
    fs::write(rootfs.join("etc/ld.so.conf"), format!("/{GONE}\n")).context("write ld.so.conf")?;
    // ldconfig caches a library under the name that it carries itself: any with the right one will do.
    let stand_in = crate::node::program("libnvml_sim_abi.so");
    copy(&stand_in, &gone.join("libnvidia-ml.so.1"))?;
    let output = Command::new("ldconfig").arg("-r").arg(rootfs).output().context("start ldconfig")?;
    ensure!(output.status.success(), "ldconfig: {}", String::from_utf8_lossy(&output.stderr));
    let cached =
        Command::new("ldconfig").arg("-r").arg(rootfs).arg("-p").output().context("start ldconfig")?;
    let cached = String::from_utf8_lossy(&cached.stdout).into_owned();
    if !cached.contains("libnvidia-ml.so.1") {
        bail!("the cache names no driver library, so it is not stale:\n{cached}");
    }
    fs::remove_dir_all(&gone).context("remove the old driver")
}

fn lay_probe(rootfs: &Path) -> Result<()> {
    // The runtime makes these mount points itself, but not on a read-only root.
    for folder in ["dev", "proc", "sys", "tmp", "etc"] {
        fs::create_dir_all(rootfs.join(folder)).with_context(|| format!("create /{folder}"))?;
    }
    copy(Path::new(env!("CARGO_BIN_EXE_gpu-probe")), &rootfs.join("usr/bin/gpu-probe"))
}

fn lay_libraries(folder: &Path) -> Result<()> {
    let here = Path::new("/lib/x86_64-linux-gnu");
    LIBRARIES.iter().try_for_each(|name| copy(&here.join(name), &folder.join(name)))
}

fn copy(from: &Path, to: &PathBuf) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    }
    fs::copy(from, to).with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("chmod {}", to.display()))
}
