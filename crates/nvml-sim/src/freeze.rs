//! A place on which a call hangs so that not even SIGKILL ends it: a small file system in a file of the state folder, mounted
//! and frozen, on which a write waits in the kernel until it thaws. It knows files and the system's programs, not who
//! hangs there, and why.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use thiserror::Error;

/// Where it is mounted, in the state folder.
const PLACE: &str = "frozen";
/// The file in which it is.
const IMAGE: &str = "frozen.img";
/// Its size in bytes; the file has holes instead.
const IMAGE_BYTES: u64 = 8 << 20;

/// Why nothing was frozen or thawed.
#[derive(Debug, Error)]
pub enum FreezeError {
    /// Only root can.
    #[error("only root can freeze and thaw: a file system is mounted and frozen for it")]
    NotRoot,
    /// A program of the system could not be run.
    #[error("cannot run {program}, of the package {package}")]
    NoProgram {
        /// The program.
        program: &'static str,
        /// The package of Debian that has it.
        package: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// It failed, as where a machine has no loop devices.
    #[error("{program} failed: {said}")]
    Failed {
        /// The program.
        program: &'static str,
        /// What it said.
        said: String,
    },
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Makes a frozen place in a state folder, if there is none.
pub fn freeze(dir: &Path) -> Result<(), FreezeError> {
    needs_root()?;
    if is_there(dir) {
        return Ok(());
    }
    let (place, image) = (dir.join(PLACE), dir.join(IMAGE));
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| FreezeError::Io { action, path, source }
    };
    let file = File::create(&image).map_err(failed("create", &image))?;
    file.set_len(IMAGE_BYTES).map_err(failed("make room in", &image))?;
    fs::create_dir_all(&place).map_err(failed("create", &place))?;
    run("mkfs.ext4", "e2fsprogs", Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
    run("mount", "mount", Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&place))?;
    let frozen = run("fsfreeze", "util-linux", Command::new("fsfreeze").arg("--freeze").arg(&place));
    if frozen.is_err() {
        // Nothing half made stays; what matters is why it could not be frozen.
        let _ = run("umount", "mount", Command::new("umount").arg(&place));
    }
    frozen
}

/// Thaws the frozen place of a state folder and takes it away, if there is one: every call that hangs there goes on.
pub fn thaw(dir: &Path) -> Result<bool, FreezeError> {
    if !is_there(dir) {
        return Ok(false);
    }
    needs_root()?;
    let place = dir.join(PLACE);
    run("fsfreeze", "util-linux", Command::new("fsfreeze").arg("--unfreeze").arg(&place))?;
    // Lazily: those that it held may still be on their way out.
    run("umount", "mount", Command::new("umount").arg("--lazy").arg(&place))?;
    let image = dir.join(IMAGE);
    fs::remove_file(&image).map_err(|source| FreezeError::Io { action: "remove", path: image, source })?;
    Ok(true)
}

/// Hangs on the frozen place until it thaws, beyond the reach of signals. False where there is none to be seen: it was not
/// made, or in another mount namespace.
pub fn hang(dir: &Path) -> bool {
    if !is_there(dir) {
        return false;
    }
    // Whether it succeeds in the end is all the same.
    let _ = File::create(dir.join(PLACE).join("held"));
    true
}

/// Whether another file system is mounted at the place.
fn is_there(dir: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|it| it.dev()).ok();
    device(&dir.join(PLACE)).is_some_and(|place| Some(place) != device(dir))
}

fn needs_root() -> Result<(), FreezeError> {
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err(FreezeError::NotRoot) }
}

fn run(program: &'static str, package: &'static str, command: &mut Command) -> Result<(), FreezeError> {
    let output = command.output().map_err(|source| FreezeError::NoProgram { program, package, source })?;
    let said = || String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(()) } else { Err(FreezeError::Failed { program, said: said() }) }
}
